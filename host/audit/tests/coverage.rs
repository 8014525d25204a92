//! What of a policy the questions of an audit reach.

use crate::audit::audit;
use crate::support::scaling::judging;
use host_audit::checks::Audit;
use host_audit::coverage::{Coverage, Reached, Unreached};

fn reached(audit: &Audit) -> &Reached {
    match &audit.coverage {
        Coverage::Measured(reached) => reached,
        Coverage::Unknown { problem } => panic!("{problem}"),
    }
}

#[test]
fn a_condition_that_no_question_meets_is_shown_to_whoever_signs() {
    // It lets go at one step that no audit asks about.
    let at_one_step = "(if (result f64)
        (i64.eq (i64.load offset=64 (local.get 0)) (i64.const 123456789123))
        (then (f64.const 0)) (else (local.get $r)))";
    // It always goes one way, and the other is never taken.
    let always = "(if (result f64) (i32.const 1) (then (local.get $r)) (else (f64.const 0)))";
    let honest = audit(&judging(&[]));
    for kl in [at_one_step, always] {
        let guest = judging(&[("kl", kl)]);
        let found = audit(&guest);
        assert!(found.passed, "no check sees it");
        let (before, after) = (reached(&honest), reached(&found));
        assert_eq!(after.blocks, before.blocks + 3, "both ways, and what follows");
        assert_eq!(after.reached_blocks, before.reached_blocks + 2);
        let function = &after.unreached[0];
        assert!(function.called && function.unreached.len() < function.blocks, "{function:?}");
        // f64.const 0
        let bytes = guest.component();
        let lets_go = |byte: usize| bytes[byte..].starts_with(&[0x44, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert!(function.unreached.iter().any(|block| lets_go(block.byte)), "{function:?}");
    }
    let known = |one: &Unreached| one.unreached.len();
    assert!(reached(&honest).unreached.iter().map(known).sum::<usize>() < 20);
}
