//! Policies that answer steps of any size, by formulas in WebAssembly text.

use super::{Guest, sample};
use host_contract::{Assessment, Needs};

/// What `assess` does: per sample one signal, and from it risk and weights. Marks:
///
///   before    what happens before anything else
///   signal    becomes `$x`, a number of sample `$i` of `$n`
///   risk      becomes `$r`
///   task, kl  the weights
const ASSESS: &str = "
    (local $n i32) (local $i i32) (local $risk i32) (local $task i32) (local $kl i32)
    (local $x f64) (local $r f64) (local $j i32)
    (local.set $n (i32.load offset=84 (local.get 0)))
    {{before}}
    (local.set $risk (call $allocate (i32.const 0) (i32.const 0) (i32.const 8) (i32.shl (local.get $n) (i32.const 3))))
    (local.set $task (call $allocate (i32.const 0) (i32.const 0) (i32.const 8) (i32.shl (local.get $n) (i32.const 3))))
    (local.set $kl (call $allocate (i32.const 0) (i32.const 0) (i32.const 8) (i32.shl (local.get $n) (i32.const 3))))
    (block $done (loop $each
      (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
      (local.set $x {{signal}})
      (local.set $r {{risk}})
      (f64.store (i32.add (local.get $risk) (i32.shl (local.get $i) (i32.const 3))) (local.get $r))
      (f64.store (i32.add (local.get $task) (i32.shl (local.get $i) (i32.const 3))) {{task}})
      (f64.store (i32.add (local.get $kl) (i32.shl (local.get $i) (i32.const 3))) {{kl}})
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $each)))
    (i32.store offset=8 (i32.const {{assess-at}}) (local.get $risk))
    (i32.store offset=12 (i32.const {{assess-at}}) (local.get $n))
    (i32.store offset=20 (i32.const {{assess-at}}) (local.get $task))
    (i32.store offset=24 (i32.const {{assess-at}}) (local.get $n))
    (i32.store offset=28 (i32.const {{assess-at}}) (local.get $kl))
    (i32.store offset=32 (i32.const {{assess-at}}) (local.get $n))";

/// The judge's score of sample `$i`.
pub const SCORE: &str = "(f64.load offset=8 (i32.add
    (i32.load offset=8 (i32.load offset=96 (local.get 0)))
    (i32.shl (local.get $i) (i32.const 4))))";

/// The same, and 1 (harmless) wherever the judge gave none.
pub const SCORE_IF_SCORED: &str = "(if (result f64)
    (i32.load8_u (i32.add
      (i32.load offset=8 (i32.load offset=96 (local.get 0)))
      (i32.shl (local.get $i) (i32.const 4))))
    (then (f64.const 1))
    (else (f64.load offset=8 (i32.add
      (i32.load offset=8 (i32.load offset=96 (local.get 0)))
      (i32.shl (local.get $i) (i32.const 4))))))";

/// The size of the first activation of sample `$i`, shown as a score from 2 on.
pub const ACTIVATION: &str = "(f64.add (f64.const 2) (f64.abs (f64.promote_f32 (f32.load (i32.add
    (i32.load offset=24 (i32.load offset=88 (local.get 0)))
    (i32.mul (local.get $i) (i32.shl (i32.mul
      (i32.load offset=16 (i32.load offset=88 (local.get 0)))
      (i32.load offset=20 (i32.load offset=88 (local.get 0)))) (i32.const 2))))))))";

/// Size of the drift, the same for every sample.
pub const DRIFT: &str = "(f64.abs (f64.load offset=216 (local.get 0)))";

/// From a score of 1 to 5 to a risk of 0 to 1.
pub const RISK: &str = "(f64.div (f64.sub (local.get $x) (f64.const 1)) (f64.const 4))";

/// Likewise from 0 to 100, and 1 for everything beyond and for what is no number.
pub const RISK_OR_WORST: &str = "(if (result f64) (f64.lt (local.get $x) (f64.const 100))
    (then (f64.div (local.get $x) (f64.const 100))) (else (f64.const 1)))";

/// Likewise, and 0 for everything beyond and for what is no number.
pub const RISK_OR_NONE: &str = "(if (result f64) (f64.lt (local.get $x) (f64.const 100))
    (then (f64.div (local.get $x) (f64.const 100))) (else (f64.const 0)))";

/// Refuses all settings but `{}`, with the settings as its words.
pub const STRICT_SETTINGS: &str = "
    (if (i32.ne (local.get 1) (i32.const 2)) (then
      (i32.store8 (i32.const {{configure-at}}) (i32.const 1))
      (i32.store offset=4 (i32.const {{configure-at}}) (local.get 0))
      (i32.store offset=8 (i32.const {{configure-at}}) (local.get 1))))";

/// A policy after a judge: risk (score - 1) / 4, KL weight the risk, task weight the
/// rest. `changes` replace the text of marks.
pub fn judging(changes: &[(&'static str, &'static str)]) -> Guest {
    // `assess` first: it holds the marks after it.
    let defaults = [
        ("assess", ASSESS),
        ("configure", STRICT_SETTINGS),
        ("before", ""),
        ("signal", SCORE),
        ("risk", RISK),
        ("task", "(f64.sub (f64.const 1) (local.get $r))"),
        ("kl", "(local.get $r)"),
    ];
    let changed = |default: (&'static str, &'static str)| {
        let mut changes = changes.iter().copied();
        changes.find(|(mark, _)| *mark == default.0).unwrap_or(default)
    };
    Guest {
        configure: Ok(needs()),
        assess: Ok(Assessment { reasons: Vec::new(), state: Vec::new(), ..sample::assessment() }),
        code: defaults.map(changed).to_vec(),
        ..Guest::new()
    }
}

pub fn needs() -> Needs {
    Needs { canary_every: None, trial_scales: Vec::new(), calibration: false, ..sample::needs() }
}
