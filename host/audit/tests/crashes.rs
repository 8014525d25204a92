//! Policies that crash, and answers that can't be read.

use crate::{
    faults::{assess, fault},
    support::{Guest, Slot, says},
};
use host_sandbox::{Error, Limits};

#[test]
fn crashes() {
    let cases = [
        ("unreachable", "it aborted (a panic or a failed check in its code)"),
        ("(drop (i32.load (i32.const -8)))", "it accessed memory outside its own"),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", "it divided an integer by zero"),
        ("(drop (i32.trunc_f32_s (f32.const nan)))", "invalid conversion to integer"),
    ];
    for (code, cause) in cases {
        let error = fault(
            &Guest::running("assess", code),
            Limits::default(),
            &["the policy crashed", cause],
        );
        assert!(matches!(error, Error::Trap { .. }));
    }
}

#[test]
fn a_crash_names_the_function() {
    let declare = "(func $compute_risk unreachable)";
    let guest = Guest {
        code: vec![("declare", declare), ("assess", "(call $compute_risk)")],
        ..Guest::new()
    };
    fault(&guest, Limits::default(), &["in compute_risk"]);
}

#[test]
fn answers_that_cannot_be_read() {
    // The ok case begins at byte 8: the pointer of the list of risks, its length,
    // then the action.
    let cases: [(usize, Vec<u8>, &str); 4] = [
        (8, 0xffff_fff8u32.to_le_bytes().to_vec(), "out of bounds"),
        (12, 0x0fff_ffffu32.to_le_bytes().to_vec(), "out of bounds"),
        (8, 1025u32.to_le_bytes().to_vec(), "align"),
        (16, vec![9], "discriminant"),
    ];
    for (offset, bytes, cause) in cases {
        let guest = Guest { poke: vec![(Slot::Assess, offset, bytes)], ..Guest::new() };
        let error = fault(&guest, Limits::default(), &["the answer can't be read", cause]);
        assert!(matches!(error, Error::Unreadable { .. }));
    }
    assess(&Guest { poke: vec![(Slot::Assess, 16, vec![1])], ..Guest::new() }, Limits::default())
        .unwrap();
}

#[test]
fn text_that_is_no_utf8() {
    let guest =
        Guest { poke: vec![(Slot::Describe, 4, 4u32.to_le_bytes().to_vec())], ..Guest::new() };
    assert_eq!(guest.load().unwrap().name(), "fixe");
    let mut guest = Guest::new();
    guest.code =
        vec![("describe", "(i32.store8 (i32.load (i32.const {{describe-at}})) (i32.const 255))")];
    says(
        &guest.load().unwrap_err(),
        &["policy test.wasm, describe: the answer can't be read", "utf-8"],
    );
}
