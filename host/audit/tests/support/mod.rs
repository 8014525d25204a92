//! Test policies: the template `tests/fixtures/policy.wat` with answers filled in.

pub mod sample;
pub mod scaling;

use host_contract as wit;
use host_sandbox::{Engine, Limits, Policy};
use hostile::template;
use serde::Serialize;
use serde_json::json;
use wit_parser::Resolve;

/// A policy that gives the same answers whatever it is asked.
pub struct Guest {
    pub descriptor: wit::Descriptor,
    pub configure: Result<wit::Needs, String>,
    pub calibrate: Result<wit::Calibration, String>,
    pub assess: Result<wit::Assessment, String>,
    /// Text that replaces a mark of the template, such as ("assess", "unreachable").
    pub code: Vec<(&'static str, &'static str)>,
    /// The contract that the policy is built against.
    pub interface: &'static str,
    /// Changes to the interface that the policy is built against.
    pub edits: Vec<(&'static str, &'static str)>,
    /// Changes to the memory that holds the answers.
    pub poke: Vec<(Slot, usize, Vec<u8>)>,
}

/// The memory of one answer.
#[derive(Clone, Copy, PartialEq)]
pub enum Slot {
    Describe,
    Assess,
}

impl Guest {
    pub fn new() -> Self {
        Self {
            descriptor: sample::descriptor(),
            configure: Ok(sample::needs()),
            calibrate: Ok(sample::calibration()),
            assess: Ok(sample::assessment()),
            code: Vec::new(),
            interface: template::INTERFACE,
            edits: Vec::new(),
            poke: Vec::new(),
        }
    }

    pub fn running(mark: &'static str, code: &'static str) -> Self {
        Self { code: vec![(mark, code)], ..Self::new() }
    }

    pub fn answering(change: impl FnOnce(&mut wit::Assessment)) -> Self {
        let mut assessment = sample::assessment();
        change(&mut assessment);
        Self { assess: Ok(assessment), ..Self::new() }
    }

    /// The component's bytes.
    pub fn component(&self) -> Vec<u8> {
        self.component_with(|text| text)
    }

    /// The component's bytes after a change to the text of its core module.
    pub fn component_with(&self, change: impl FnOnce(String) -> String) -> Vec<u8> {
        let mut source = self.interface.to_owned();
        for (from, to) in &self.edits {
            assert!(source.contains(from), "the interface has no {from:?}");
            source = source.replace(from, to);
        }
        let (resolve, world) = template::resolve(&source).unwrap();
        template::component(&change(self.module(&resolve)), &resolve, world).unwrap()
    }

    pub fn load(&self) -> host_sandbox::Result<Policy> {
        self.load_with(&Limits::default())
    }

    pub fn load_with(&self, limits: &Limits) -> host_sandbox::Result<Policy> {
        Policy::from_bytes(&Engine::new(limits)?, "test.wasm", &self.component())
    }

    /// Text of the core module.
    fn module(&self, resolve: &Resolve) -> String {
        let answers = json!({
            "describe": self.descriptor,
            "configure": outcome(&self.configure),
            "calibrate": outcome(&self.calibrate),
            "assess": outcome(&self.assess),
        });
        let code = self.code.iter().copied();
        let text = template::module(resolve, &answers, code, |image| {
            for (slot, offset, bytes) in &self.poke {
                let answer = match slot {
                    Slot::Assess => "assess",
                    Slot::Describe => "describe",
                };
                let at = image.places()[answer] as usize;
                image.poke(at + offset, bytes);
            }
        });
        // The examples of 0.1 are few enough fields to be passed one by one.
        if self.interface.contains("package risk:policy@0.1") {
            let (now, then) = (
                "(param i32) (result i32)",
                "(param i32 i32) (param i32 i32 i32 i32 i64 i64 i32 i32) (param i32 i32 i32 i32 i32 i32) (result i32)",
            );
            let (before, rest) = text.split_once("#calibrate").expect("a function");
            return format!("{before}#calibrate{}", rest.replacen(now, then, 1));
        }
        text
    }
}

fn outcome<T: Serialize>(answer: &Result<T, String>) -> serde_json::Value {
    match answer {
        Ok(answer) => json!({ "ok": answer }),
        Err(message) => json!({ "err": message }),
    }
}

/// Asserts that a message is one line and holds every part.
#[track_caller]
pub fn says(error: &dyn std::fmt::Display, parts: &[&str]) {
    let message = error.to_string();
    assert!(!message.contains('\n'), "more than one line: {message}");
    for part in parts {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
}
