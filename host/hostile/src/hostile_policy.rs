//! One hostile policy: a file of `tests/fixtures/hostile`.
//!
//! ```text
//! ;; What it does, for a person; may take several lines.
//! ;;
//! ;; stopped: assess at step 0        or load, describe, configure, calibrate, never
//! ;; by: limits.fuel_per_call         what stops it; a limit is named in the message
//! ;; exit: 3
//! ;; says: part of the message        any number of these
//! ;; set: limits.fuel_per_call=1000   any number of these
//! ;; answer: assess/ok/risk = [2, 0]  a part of the answers in answers.json, replaced
//! ;; recovers: yes                    if it fails at fewer steps than strict mode allows
//! ;; form: component                  or module, native
//!
//! ;; assess:                          a mark of policy.wat, and its code
//! unreachable
//! ```
//!
//! `{{100 * TEXT}}` stands for a hundred times TEXT. The mark `component` takes the text
//! of a whole component; in it `{{policy}}` is the policy that the rest makes, as a
//! component called $policy.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use wasm_encoder::Encode as _;

use crate::{
    error::{Error, Result},
    template,
};

const ANSWERS: &str = include_str!("../../../tests/fixtures/answers.json");
const POLICY: &str = "{{policy}}";
/// How a component begins.
const PREAMBLE: &[u8] = b"\0asm\x0d\0\x01\0";

/// A policy that misbehaves, and what is to become of it.
#[derive(Debug, Clone)]
pub struct HostilePolicy {
    /// The file's, without its ending.
    pub name: String,
    /// What it does.
    pub about: String,
    pub stopped: Stopped,
    /// What stops it.
    pub by: String,
    pub exit: i32,
    /// Parts of the message.
    pub says: Vec<String>,
    /// Settings of the run, `key=value`.
    pub set: Vec<String>,
    /// It fails at fewer steps in a row than strict mode allows.
    pub recovers: bool,
    form: Form,
    answers: Value,
    code: Vec<(String, String)>,
}

/// Where a policy is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    Load,
    Describe,
    Configure,
    Calibrate,
    Assess(u64),
    /// What it does has no effect.
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Component,
    Module,
    Native,
}

impl HostilePolicy {
    /// All files of `tests/fixtures/hostile`, by name.
    ///
    /// # Errors
    /// A folder or file that can't be read, and a file that is no hostile policy.
    pub fn all() -> Result<Vec<Self>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/hostile");
        let entries = fs::read_dir(&folder).map_err(Error::file(&folder))?;
        let mut paths = Vec::<PathBuf>::new();
        for entry in entries {
            paths.push(entry.map_err(Error::file(&folder))?.path());
        }
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "wat"));
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Result<Self> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let text = fs::read_to_string(path).map_err(Error::file(path))?;
        Self::parse(&name, &text)
    }

    /// # Errors
    /// A text that is no hostile policy.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let wrong = |problem: String| Error::policy(name, problem);
        let mut hostile = Self {
            name: name.to_owned(),
            about: String::new(),
            stopped: Stopped::Never,
            by: String::new(),
            exit: -1,
            says: Vec::new(),
            set: Vec::new(),
            recovers: false,
            form: Form::Component,
            answers: serde_json::from_str(ANSWERS).map_err(|e| wrong(e.to_string()))?,
            code: Vec::new(),
        };
        let mut stopped = None;
        for line in repeated(text).map_err(wrong)?.lines() {
            let comment = line.strip_prefix(";;").map(str::trim);
            match comment.map(|comment| (comment, comment.split_once(':'))) {
                Some((_, Some((key, value)))) if is_word(key) => {
                    let value = value.trim();
                    match key {
                        "stopped" => stopped = Some(Stopped::parse(value).map_err(wrong)?),
                        _ => hostile.directive(key, value).map_err(wrong)?,
                    }
                }
                Some((text, _)) if hostile.code.is_empty() => {
                    hostile.about = format!("{} {text}", hostile.about).trim().to_owned();
                }
                Some(_) => {}
                None => match hostile.code.last_mut() {
                    Some((_, code)) => {
                        code.push_str(line);
                        code.push('\n');
                    }
                    None if line.trim().is_empty() => {}
                    None => return Err(wrong(format!("code without a mark: {line}"))),
                },
            }
        }
        hostile.stopped = stopped.ok_or_else(|| wrong("lacks `stopped`".into()))?;
        if hostile.about.is_empty() || hostile.by.is_empty() || hostile.exit < 0 {
            return Err(wrong("lacks its description, `by` or `exit`".into()));
        }
        Ok(hostile)
    }

    fn directive(&mut self, key: &str, value: &str) -> std::result::Result<(), String> {
        let unknown = || format!("`{key}` can't be {value:?}");
        match key {
            "by" => self.by = value.to_owned(),
            "exit" => self.exit = value.parse().map_err(|_| unknown())?,
            "says" => self.says.push(value.to_owned()),
            "set" => self.set.push(value.to_owned()),
            "recovers" if value == "yes" => self.recovers = true,
            "form" => {
                self.form = match value {
                    "component" => Form::Component,
                    "module" => Form::Module,
                    "native" => Form::Native,
                    _ => return Err(unknown()),
                }
            }
            "answer" => {
                let (path, json) = value.split_once('=').ok_or_else(unknown)?;
                let place = self.answers.pointer_mut(&format!("/{}", path.trim()));
                *place.ok_or_else(|| format!("there is no answer {path}"))? =
                    serde_json::from_str(json).map_err(|e| format!("{path}: {e}"))?;
            }
            mark if value.is_empty()
                && (template::MARKS.contains(&mark) || mark == "component") =>
            {
                self.code.push((mark.to_owned(), String::new()));
            }
            _ => return Err(format!("`{key}` is neither a directive nor a mark")),
        }
        Ok(())
    }

    /// The policy file.
    ///
    /// # Errors
    /// Code that is no WebAssembly text.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        self.build().map_err(|problem| Error::policy(&self.name, problem))
    }

    fn build(&self) -> std::result::Result<Vec<u8>, String> {
        let text = |text: &str| wat::parse_str(text).map_err(|e| e.to_string());
        let whole = self.code.iter().find(|(mark, _)| mark == "component");
        if let Some((_, whole)) = whole
            && !whole.contains(POLICY)
        {
            return text(whole);
        }
        let (resolve, world) = template::resolve(template::INTERFACE)?;
        let code = self.code.iter().filter(|(mark, _)| mark != "component");
        let code = code.map(|(mark, code)| (mark.as_str(), code.as_str()));
        let module = template::module(&resolve, &self.answers, code, |_| {});
        if self.form == Form::Module {
            return text(&module);
        }
        let mut component = template::component(&module, &resolve, world)?;
        if let Some((_, whole)) = whole {
            component = nest(&component, &text(&whole.replace(POLICY, "(component $policy)"))?)?;
        }
        match self.form {
            Form::Native => native(&component),
            _ => Ok(component),
        }
    }
}

/// The component as native code, which wasmtime would load.
pub fn native(component: &[u8]) -> std::result::Result<Vec<u8>, String> {
    use wasmtime::WasmFeatures;
    let mut config = wasmtime::Config::new();
    // This build has no collector.
    for feature in [WasmFeatures::GC, WasmFeatures::EXCEPTIONS, WasmFeatures::GC_TYPES] {
        config.wasm_features(feature, false);
    }
    let engine = wasmtime::Engine::new(&config);
    let compiled = engine.and_then(|engine| engine.precompile_component(component));
    compiled.map_err(|error| format!("{error:#}"))
}

impl Stopped {
    fn parse(text: &str) -> std::result::Result<Self, String> {
        Ok(match text {
            "load" => Self::Load,
            "describe" => Self::Describe,
            "configure" => Self::Configure,
            "calibrate" => Self::Calibrate,
            "never" => Self::Never,
            _ => {
                let step = text.strip_prefix("assess at step ");
                let step = step.and_then(|step| step.parse().ok());
                Self::Assess(step.ok_or_else(|| format!("`stopped` can't be {text:?}"))?)
            }
        })
    }
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Load => f.write_str("load"),
            Self::Describe => f.write_str("describe"),
            Self::Configure => f.write_str("configure"),
            Self::Calibrate => f.write_str("calibrate"),
            Self::Assess(step) => write!(f, "assess at step {step}"),
            Self::Never => f.write_str("never"),
        }
    }
}

/// Puts a component where another has its first nested one, which is small.
fn nest(inner: &[u8], outer: &[u8]) -> std::result::Result<Vec<u8>, String> {
    let (own, rest) = outer.split_at(PREAMBLE.len());
    let nested = rest.windows(PREAMBLE.len()).position(|w| w == PREAMBLE);
    let start = nested.ok_or("the outer component has no place for the policy")?;
    let length = rest[start - 1];
    if length >= 0x80 {
        return Err("the place for the policy is not empty".into());
    }
    let mut bytes = [own, &rest[..start - 1]].concat();
    inner.encode(&mut bytes);
    bytes.extend(&rest[start + usize::from(length)..]);
    Ok(bytes)
}

/// `{{100 * TEXT}}` becomes a hundred times TEXT, in which the same may stand.
fn repeated(text: &str) -> std::result::Result<String, String> {
    let mut done = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let end = closing(after).ok_or("`{{` without `}}`")?;
        let inside = repeated(&after[..end])?;
        done.push_str(before);
        match inside.split_once(" * ") {
            Some((times, what)) => {
                let times = times.parse().map_err(|_| format!("{times:?} is no number"))?;
                done.extend(std::iter::repeat_n(what, times));
            }
            None => done.push_str(&format!("{{{{{inside}}}}}")),
        }
        rest = &after[end + 2..];
    }
    done.push_str(rest);
    Ok(done)
}

/// Where the braces close that are open at the start.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 1;
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let close = rest.find("}}")?;
        match rest.find("{{").filter(|open| *open < close) {
            Some(open) => {
                depth += 1;
                at += open + 2;
            }
            None if depth == 1 => return Some(at + close),
            None => {
                depth -= 1;
                at += close + 2;
            }
        }
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const HEADER: &str = ";; Does nothing.\n;;\n;; stopped: never\n;; by: nothing\n;; exit: 0\n";

    #[test]
    fn a_hostile_policy_is_read() {
        let text = format!(
            "{HEADER};; says: a: b\n;; answer: assess/ok/risk/1 = \"inf\"\n\n;; assess:\n(nop) ;; x\n{{{{3 * (nop) }}}}\n"
        );
        let hostile = HostilePolicy::parse("x", &text).unwrap();
        assert_eq!(hostile.about, "Does nothing.");
        assert_eq!(hostile.says, ["a: b"]);
        assert_eq!(hostile.code[0].1, "(nop) ;; x\n(nop) (nop) (nop) \n");
        assert_eq!(hostile.answers["assess"]["ok"]["risk"][1], "inf");
        assert!(hostile.bytes().unwrap().starts_with(b"\0asm\x0d"));
    }

    #[test]
    fn text_is_repeated() {
        let of = |text| repeated(text).unwrap();
        assert_eq!(of("a{{3 * b }}c"), "ab b b c");
        assert_eq!(of("{{2 * [{{2 * x}}]}} {{mark}}"), "[xx][xx] {{mark}}");
        assert!(repeated("{{2 * x").is_err() && repeated("{{y * x}}").is_err());
    }

    #[test]
    fn what_is_no_hostile_policy_is_refused() {
        for text in [
            "",
            ";; A text alone.",
            &format!("{HEADER};; sped: x"),
            &format!("{HEADER};; exit: x"),
            &format!("{HEADER};; answer: assess/ok/hazard = 1"),
            &format!("{HEADER}(nop)"),
            &format!("{HEADER};; assess:\n{{{{x * y}}}}"),
        ] {
            assert!(HostilePolicy::parse("x", text).is_err(), "{text}");
        }
        let text = format!("{HEADER};; assess:\n(no");
        assert!(HostilePolicy::parse("x", &text).unwrap().bytes().is_err());
    }
}
