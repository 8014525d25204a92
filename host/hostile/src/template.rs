//! The test policy `tests/fixtures/policy.wat`, with its marks filled in.

use serde_json::Value;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

use crate::image::Image;

/// The contract that test policies are built against.
pub const INTERFACE: &str = include_str!("../../../wit/v0.2/policy.wit");
/// The contract before.
pub const INTERFACE_V0_1: &str = include_str!("../../../wit/v0.1/policy.wit");
/// The version in the template.
const VERSION: &str = "@0.2.0";
const TEMPLATE: &str = include_str!("../../../tests/fixtures/policy.wat");
/// Where the answers begin, as the template says.
const ANSWERS: u32 = 1024;
const PAGE: u32 = 1 << 16;
const FUNCTIONS: [&str; 4] = ["describe", "configure", "calibrate", "assess"];
/// Marks for code.
pub const MARKS: [&str; 7] =
    ["declare", "start", "realloc", "describe", "configure", "calibrate", "assess"];

/// Parses an interface and finds its world `policy`.
///
/// # Errors
/// What the parser says.
pub fn resolve(interface: &str) -> Result<(Resolve, WorldId), String> {
    let mut resolve = Resolve::new();
    let world = resolve
        .push_source("policy.wit", interface)
        .and_then(|package| resolve.select_world(&[package], Some("policy")));
    world.map(|world| (resolve, world)).map_err(|e| format!("{e:#}"))
}

/// Text of the core module that gives `answers` (an object with one answer per
/// function) and runs `code` (mark, code) before. `change` may alter the memory.
pub fn module<'c>(
    resolve: &Resolve,
    answers: &Value,
    code: impl IntoIterator<Item = (&'c str, &'c str)>,
    change: impl FnOnce(&mut Image<'_>),
) -> String {
    let mut image = Image::new(resolve, ANSWERS);
    let starts = FUNCTIONS.map(|name| (name, image.answer(name, &answers[name])));
    change(&mut image);
    let package = resolve.packages.iter().find_map(|(_, one)| one.name.version.as_ref());
    let version = package.map_or_else(String::new, |version| format!("@{version}"));
    let mut text = TEMPLATE.replace(VERSION, &version);
    let mut put = |mark: &str, code: &str| {
        text = text.replace(&format!("{{{{{mark}}}}}"), code);
    };
    for (mark, code) in code {
        put(mark, code);
    }
    for mark in MARKS {
        put(mark, "");
    }
    for (name, at) in starts {
        put(&format!("{name}-at"), &at.to_string());
    }
    for (path, at) in image.places() {
        put(path, &at.to_string());
    }
    put("heap", &image.end().to_string());
    put("pages", &image.end().div_ceil(PAGE).to_string());
    put("answers", &image.text());
    text
}

/// The component of a core module that was built against a world.
///
/// # Errors
/// Text that is no module, and a module that doesn't fit the world.
pub fn component(module: &str, resolve: &Resolve, world: WorldId) -> Result<Vec<u8>, String> {
    let mut module = wat::parse_str(module).map_err(|e| e.to_string())?;
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8)
        .and_then(|()| ComponentEncoder::default().module(&module)?.encode())
        .map_err(|e| format!("{e:#}"))
}
