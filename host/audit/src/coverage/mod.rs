//! Which parts of a policy the calls of an audit reached.
//!
//! What no call reached is code of which an audit has seen nothing: a person who signs the policy
//! off should know how much of it there is and where. Most of it is harmless, such as what a
//! compiler adds for errors that don't happen. A choice that is computed without a branch counts
//! as reached whichever way it goes, so full coverage proves nothing.

mod instrument;

use std::cmp::Reverse;
use std::collections::BTreeSet;

use host_files::text::clean;
use host_sandbox::{Limits, Policy};
use serde::Serialize;

use instrument::{Blocks, instrument};

/// A number that no compiler gives to a table as its maximum.
const MARK: u32 = 0x6b1f_3d59;
/// A module can't have more of what is added per block.
const MOST: usize = 900_000;
/// What reporting costs a policy at most.
const SLOWER: u64 = 16;

/// What was measured, or why nothing was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Coverage {
    Measured(Reached),
    Unknown { problem: String },
}

/// Blocks and functions, and how many of them were reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reached {
    /// Pieces of code without a branch; those that only abort are left out.
    pub blocks: usize,
    pub reached_blocks: usize,
    /// Functions that have such blocks.
    pub functions: usize,
    pub called_functions: usize,
    /// What was not reached. First the functions that were called, in which a condition never held;
    /// then those that never were. Those with most such blocks come first.
    pub unreached: Vec<Unreached>,
}

/// A function of which something was never reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unreached {
    /// As the file calls it, cleaned; its number, if it doesn't.
    pub function: String,
    pub called: bool,
    pub blocks: usize,
    pub unreached: Vec<Block>,
}

/// A block of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Block {
    /// Counted from 1.
    pub number: usize,
    /// Where it begins in the file.
    pub byte: usize,
}

impl Coverage {
    /// Gives `calls` a copy of the policy that reports what it reaches, and the copy's bytes.
    pub(crate) fn of(
        policy: &Policy,
        bytes: &[u8],
        calls: impl FnOnce(&Policy, &[u8]) -> host_sandbox::Result<()>,
    ) -> Self {
        match measure(policy, bytes, calls) {
            Ok(reached) => Self::Measured(reached),
            Err(problem) => Self::Unknown { problem },
        }
    }
}

fn measure(
    policy: &Policy,
    bytes: &[u8],
    calls: impl FnOnce(&Policy, &[u8]) -> host_sandbox::Result<()>,
) -> Result<Reached, String> {
    let made = instrument(bytes, MARK).map_err(|e| clean(&e.to_string(), 200))?;
    let blocks = made.blocks();
    if blocks > MOST {
        return Err(format!("it has {blocks} blocks, and at most {MOST} can report"));
    }
    let engine = policy.engine().watching(larger(policy.limits()), made.mark);
    let copy = Policy::from_bytes(&engine, policy.path(), &made.bytes);
    let copy = copy.map_err(|e| e.to_string())?;
    calls(&copy, &made.bytes).map_err(|e| e.to_string())?;
    Ok(Reached::count(&made.functions, &engine.reached()))
}

impl Reached {
    fn count(functions: &[Blocks], reached: &BTreeSet<u32>) -> Self {
        let functions = functions.iter().filter(|one| !one.offsets.is_empty());
        let functions: Vec<Unreached> = functions.map(|one| Unreached::of(one, reached)).collect();
        let blocks: usize = functions.iter().map(|one| one.blocks).sum();
        let missed: usize = functions.iter().map(|one| one.unreached.len()).sum();
        let (of, called) = (functions.len(), functions.iter().filter(|one| one.called).count());
        let mut unreached: Vec<_> =
            functions.into_iter().filter(|one| !one.unreached.is_empty()).collect();
        // In the order of the file among those that are alike.
        unreached.sort_by_key(|one| (!one.called, Reverse(one.unreached.len())));
        Self {
            blocks,
            reached_blocks: blocks - missed,
            functions: of,
            called_functions: called,
            unreached,
        }
    }
}

impl Unreached {
    fn of(function: &Blocks, reached: &BTreeSet<u32>) -> Self {
        let blocks = function.offsets.iter().enumerate();
        let missed = blocks.filter(|(at, _)| !reached.contains(&((function.first + at) as u32)));
        let missed = missed.map(|(at, byte)| Block { number: at + 1, byte: *byte });
        let unreached: Vec<_> = missed.collect();
        let (module, number) = function.place;
        let name = function.name.as_deref().map(|name| clean(name, 120));
        Self {
            function: name.unwrap_or_else(|| format!("function {number} of module {module}")),
            called: unreached.len() < function.offsets.len(),
            blocks: function.offsets.len(),
            unreached,
        }
    }
}

/// A copy that reports is larger and slower. What it may use decides nothing.
fn larger(limits: &Limits) -> Limits {
    let more = |limit: u64| limit.saturating_mul(SLOWER);
    Limits {
        fuel_per_call: more(limits.fuel_per_call),
        calibrate_fuel: more(limits.calibrate_fuel),
        call_milliseconds: more(limits.call_milliseconds),
        calibrate_milliseconds: more(limits.calibrate_milliseconds),
        component_bytes: more(limits.component_bytes),
        // One more for each instance.
        tables: limits.tables.saturating_add(limits.instances),
        ..limits.clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn functions(text: &str) -> Vec<Blocks> {
        let made = instrument(&wat::parse_str(text).unwrap(), MARK).unwrap();
        wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all())
            .validate_all(&made.bytes)
            .unwrap();
        made.functions
    }

    #[test]
    fn blocks_begin_where_control_arrives() {
        let text = r#"(component (core module
            (table 1 1801403737 funcref)
            (global i32 (i32.const 7))
            (memory 1)
            (func $straight nop nop)
            (func $empty)
            (func $never unreachable)
            (func $if (param i32) local.get 0 if nop else nop end nop)
            (func $dead (param i32) block br 0 nop block nop end nop end nop)
            (func $loop (param i32) loop local.get 0 br_if 0 nop end)
            (func $switch (param i32)
                block block local.get 0 br_table 0 1 end nop return end nop))
            (core module (import "a" "b" (func)) (func (result i32) i32.const 1)))"#;
        let found = functions(text);
        let counts: Vec<usize> = found.iter().map(|one| one.offsets.len()).collect();
        assert_eq!(counts, [1, 0, 0, 4, 2, 3, 3, 1]);
        assert_eq!(found[0].name.as_deref(), Some("straight"));
        assert_eq!((found[7].name.as_ref(), found[7].place), (None, (1, 1)));
        // Each is where the file has its first instruction.
        let bytes = wat::parse_str(text).unwrap();
        let nops = found[0].offsets.iter().chain(&found[3].offsets[1..]);
        assert!(nops.into_iter().all(|at| bytes[*at] == 1), "nop");
    }

    #[test]
    fn a_module_gets_a_table_and_globals_where_they_belong() {
        for sections in [
            "",
            "(memory 1)",
            "(global i32 (i32.const 0))",
            "(table 0 funcref)",
            "(import \"a\" \"b\" (table 0 funcref)) (import \"a\" \"c\" (global i32))",
            "(memory 1) (data (i32.const 0) \"x\") (func $s) (start $s)",
        ] {
            let text = format!("(component (core module {sections} (func (export \"f\") nop)))");
            assert_eq!(functions(&text).last().unwrap().offsets.len(), 1, "{sections}");
        }
    }

    #[test]
    fn a_condition_that_never_held_comes_before_what_was_never_called() {
        let one = |name: &str, first: usize, offsets: &[usize]| Blocks {
            name: Some(name.to_owned()),
            place: (0, 0),
            first,
            offsets: offsets.to_vec(),
        };
        let functions =
            [one("idle", 0, &[5, 6, 7]), one("asked", 3, &[20, 30, 40]), one("empty", 6, &[])];
        let found = Reached::count(&functions, &BTreeSet::from([3, 5]));
        assert_eq!((found.blocks, found.reached_blocks), (6, 2));
        assert_eq!((found.functions, found.called_functions), (2, 1));
        let names: Vec<_> = found.unreached.iter().map(|one| one.function.as_str()).collect();
        assert_eq!(names, ["asked", "idle"]);
        assert_eq!(found.unreached[0].unreached, [Block { number: 2, byte: 30 }]);
    }
}
