//! The embedded folders: a file added to one of them has to be noticed too.

fn main() {
    for folder in ["templates", "../../plugins/sdk", "../stats", "../../wit"] {
        println!("cargo::rerun-if-changed={folder}");
    }
}
