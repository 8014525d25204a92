//! The workspace keeps its structure. Runs the built program, so that `cargo test` leaves
//! target/release/xtask behind for the checks that come after it.
#![allow(clippy::unwrap_used)]

use std::process::Command;

#[test]
fn the_workspace_keeps_its_structure() {
    let checked = Command::new(env!("CARGO_BIN_EXE_xtask")).arg("structure").output().unwrap();
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "\n{said}{}", String::from_utf8_lossy(&checked.stderr));
    assert!(said.contains("0 circles"), "{said}");
}
