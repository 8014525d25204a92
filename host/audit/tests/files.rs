//! Files that are policies, and files that people take for one.

use crate::support::{Guest, sample, says};
use host_contract::{Actuators, Version};
use host_sandbox::{Engine, Error, Limits, Policy, Trust};
use hostile::template::{INTERFACE, INTERFACE_V0_1};

fn load(bytes: &[u8]) -> Result<Policy, Error> {
    Policy::from_bytes(&Engine::new(&Limits::default()).unwrap(), "x.wasm", bytes)
}

#[track_caller]
fn refused(bytes: &[u8], parts: &[&str]) {
    let error = load(bytes).unwrap_err();
    says(&error, &["policy x.wasm: "]);
    says(&error, parts);
    assert!(matches!(error, Error::File { .. }) && !error.is_fault(), "{error:?}");
}

fn text(source: &str) -> Vec<u8> {
    wat::parse_str(source).unwrap()
}

#[test]
fn a_file_is_loaded_and_pinned() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fixed.wasm");
    std::fs::write(&path, Guest::new().component()).unwrap();
    let engine = Engine::new(&Limits::default()).unwrap();
    let policy = Policy::load(&engine, &path).unwrap();
    assert_eq!((policy.name(), policy.path()), ("fixed", path.to_str().unwrap()));
    assert_eq!(policy.digest().len(), 64);
    let pin = Trust { sha256: Some(policy.digest()), ..Trust::default() };
    Policy::load_trusted(&engine, &path, &pin).unwrap();

    // Another file under the pin is refused before anyone looks into it.
    std::fs::write(&path, "not even WebAssembly").unwrap();
    let error = Policy::load_trusted(&engine, &path, &pin).unwrap_err();
    says(&error, &["its sha256 is ", policy.digest(), "is pinned"]);
    assert!(!error.is_fault());
}

#[test]
fn a_missing_file_is_named() {
    let engine = Engine::new(&Limits::default()).unwrap();
    let error = Policy::load(&engine, "plugins/prob.wasm").unwrap_err();
    says(&error, &["can't read the policy plugins/prob.wasm", "No such file"]);
    let error = Policy::load(&engine, env!("CARGO_MANIFEST_DIR")).unwrap_err();
    says(&error, &["can't read the policy"]);
}

#[test]
fn other_files_are_told_apart() {
    refused(b"", &["the file is empty"]);
    refused(b"\0as", &["cut short"]);
    refused(b"\0asm\x0d", &["cut short"]);
    refused(b"hello, world", &["it is not WebAssembly"]);
    refused(b"(component)", &["it is WebAssembly text", "wasm-tools parse"]);
    refused(b"version https://git-lfs.github.com/spec/v1\n", &["Git LFS pointer", "git lfs pull"]);
    refused(
        &text("(module)"),
        &["a WebAssembly core module, not a component", "wasm-tools component new"],
    );
    refused(b"\0asm\x99\0\x01\0", &["of a version that this host does not know"]);
}

#[test]
fn native_code_is_refused() {
    let compiled = hostile::native(&Guest::new().component()).unwrap();
    refused(&compiled, &["precompiled native code", "never loaded"]);
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let whole = Guest::new().component();
    load(&whole).unwrap();
    for length in (8..whole.len()).step_by(37) {
        let error = load(&whole[..length]).unwrap_err();
        says(&error, &["policy x.wasm: "]);
        assert!(!error.is_fault());
    }
}

/// A flipped bit may go unnoticed (in a comment, say), but nothing worse happens.
#[test]
fn damaged_files_do_no_harm() {
    let engine = Engine::new(&Limits { fuel_per_call: 1_000_000, ..Limits::default() }).unwrap();
    let whole = Guest::new().component();
    let mut refused = 0;
    for i in 0..200usize {
        let mut bytes = whole.clone();
        let at = 8 + i * 7919 % (whole.len() - 8);
        bytes[at] ^= 1 << (i % 8);
        if let Err(error) = Policy::from_bytes(&engine, "x.wasm", &bytes) {
            says(&error, &["policy x.wasm"]);
            refused += 1;
        }
    }
    assert!(refused > 50, "only {refused} of 200 were refused");
}

#[test]
fn imports_are_refused_in_plain_words() {
    let known = [
        ("wasi:filesystem/types@0.2.3", "read and write files"),
        ("wasi:sockets/tcp@0.2.3", "open network connections"),
        ("wasi:http/outgoing-handler@0.2.3", "send requests over the network"),
        ("wasi:clocks/wall-clock@0.2.3", "read the clock"),
        ("wasi:random/random@0.2.3", "draw random numbers"),
        ("wasi:cli/environment@0.2.3", "read environment variables"),
        ("wasi:cli/stdout@0.2.3", "write to the terminal"),
        ("wasi:cli/exit@0.2.3", "end the host's process"),
        ("wasi:io/streams@0.2.3", "wait for files"),
        ("wasi:keyvalue/store@0.2.0", "use a service of the system"),
        ("acme:bank/transfer", "call a function that this host does not have"),
    ];
    for (import, allows) in known {
        let component = text(&format!(r#"(component (import "{import}" (instance)))"#));
        refused(
            &component,
            &[import, allows, "policies get no files, network, clock", "--stub-wasi"],
        );
    }
    let function = text(r#"(component (import "log" (func (param "text" string))))"#);
    refused(&function, &["it imports log (to call a function that this host does not have)"]);
}

#[test]
fn many_imports_are_counted() {
    let imports: String = (0..7).map(|i| format!(r#"(import "a:b/c{i}" (instance))"#)).collect();
    refused(&text(&format!("(component {imports})")), &["a:b/c0", "and 3 more"]);
}

/// What a component inside the component imports is wired inside, so it is harmless.
#[test]
fn imports_inside_are_no_imports() {
    let nested = text(r#"(component (component (import "wasi:cli/exit@0.2.0" (instance))))"#);
    refused(&nested, &["it exports nothing and not risk:policy/assessor"]);
}

#[test]
fn other_interfaces_and_versions_are_named() {
    let newer =
        text(r#"(component (instance $i) (export "risk:policy/assessor@0.9.0" (instance $i)))"#);
    refused(
        &newer,
        &[
            "it speaks risk:policy@0.9.0, and this host speaks risk:policy@0.1.0 and risk:policy@0.2.0",
            "build it against wit/v0.2/policy.wit",
        ],
    );
    let other =
        text(r#"(component (instance $i) (export "wasi:http/handler@0.2.0" (instance $i)))"#);
    refused(&other, &["it exports wasi:http/handler@0.2.0 and not risk:policy/assessor"]);
    let empty =
        text(r#"(component (instance $i) (export "risk:policy/assessor@0.1.0" (instance $i)))"#);
    refused(&empty, &["it lacks a function of the interface", "describe"]);
}

#[test]
fn a_compatible_update_of_the_interface_is_served() {
    for (interface, from, to, version) in [
        (INTERFACE_V0_1, "package risk:policy@0.1.0", "package risk:policy@0.1.7", Version::V0_1),
        (INTERFACE, "package risk:policy@0.2.0", "package risk:policy@0.2.7", Version::V0_2),
    ] {
        let policy = Guest { interface, edits: vec![(from, to)], ..Guest::new() }.load().unwrap();
        assert_eq!((policy.name(), policy.version()), ("fixed", version));
    }
}

/// What 0.2 added is neither asked for nor used by a component of 0.1.
#[test]
fn a_component_of_the_contract_before_answers_in_the_same_types() {
    let mut guest = Guest { interface: INTERFACE_V0_1, ..Guest::new() };
    guest.configure = Ok(sample::everything());
    guest.assess = Ok(sample::full_assessment());
    let policy = guest.load().unwrap();
    let (run, signals) = (sample::run(), sample::signals());
    let needs = policy.configure("{}", &run).unwrap();
    let mut expected = sample::everything();
    expected.actuators &= !(Actuators::ALIGNMENT_EXTRA
        | Actuators::SAFETY_ANCHORS
        | Actuators::LAYER_SCALE
        | Actuators::ALIGNMENT_COMPLEMENT);
    assert_eq!(needs, expected);
    let assessed = policy.assess(sample::call(&run, &signals, &needs)).unwrap();
    let mut expected = sample::full_assessment();
    let r = &mut expected.regularization;
    (r.alignment_extra, r.adapter_projection_count) = (None, None);
    (r.anchor_weight, r.alignment_complement, r.layer_scale) = (None, None, None);
    r.ratio_clip.iter_mut().flatten().for_each(|clip| clip.beyond = 0.0);
    assert_eq!(assessed.assessment, expected);
    let calibration = policy.calibrate("{}", &run, &sample::examples()).unwrap();
    assert_eq!(calibration, sample::calibration());
}

#[test]
fn a_changed_record_is_named() {
    let guest =
        Guest { edits: vec![("    risk: list<f64>,", "    hazard: list<f64>,")], ..Guest::new() };
    let component = guest.component();
    refused(&component, &["its functions are not those of risk:policy@0.2.0", "risk", "hazard"]);
}

#[test]
fn features_that_policies_do_not_get_are_refused() {
    let refused_code = |code, what| {
        let component = Guest::running("declare", code).component();
        refused(&component, &["not a valid component", what, "plain WebAssembly with SIMD"]);
    };
    let atomic = "(func (param i32) (result i32) (i32.atomic.load (local.get 0)))";
    refused_code(atomic, "threads support is not enabled");
    refused_code("(memory $second 1)", "multiple memories");
    let relaxed = "(func (param v128) (result v128) (f32x4.relaxed_madd (local.get 0) (local.get 0) (local.get 0)))";
    refused_code(relaxed, "relaxed SIMD support is not enabled");
    refused_code("(func (param externref))", "");
    refused_code(
        "(type $s (struct (field i32))) (func (result i32) (struct.get $s 0 (struct.new $s (i32.const 1))))",
        "",
    );
    refused_code("(tag $t) (func (throw $t))", "");
    let simd = "(func (param v128) (result v128) (f32x4.add (local.get 0) (local.get 0)))";
    Guest::running("declare", simd).load().unwrap();
}

#[test]
fn a_large_file_is_refused_unread() {
    let component = Guest::new().component();
    let size = component.len() as u64;
    let load = |allowed| {
        let limits = Limits { component_bytes: allowed, ..Limits::default() };
        Policy::from_bytes(&Engine::new(&limits).unwrap(), "x.wasm", &component)
    };
    load(size).unwrap();
    says(
        &load(size - 1).unwrap_err(),
        &[&format!("{size} bytes, and {} are allowed", size - 1), "limits.component_bytes"],
    );
}

#[test]
fn a_policy_must_describe_itself_properly() {
    type Change = fn(&mut host_contract::Descriptor);
    let wrong: [(Change, &str); 5] = [
        (|d| d.name = "My Policy".into(), "name is \"My Policy\""),
        (|d| d.name = "../../etc/passwd".into(), "name is"),
        (|d| d.version = "1.2".into(), "version is \"1.2\""),
        (|d| d.settings_schema = "[]".into(), "settings-schema is no JSON object"),
        (|d| d.settings_schema = "{".into(), "settings-schema is no JSON:"),
    ];
    for (change, said) in wrong {
        let mut guest = Guest::new();
        change(&mut guest.descriptor);
        let error = guest.load().unwrap_err();
        says(&error, &["policy test.wasm, describe: invalid answer", said]);
        assert!(error.is_fault());
    }
    let mut guest = Guest::new();
    guest.descriptor.version = "1.0.0-rc.1+abc".into();
    guest.descriptor.summary = "two\nlines\u{202e}".into();
    assert_eq!(guest.load().unwrap().descriptor().summary, "two lines");
}
