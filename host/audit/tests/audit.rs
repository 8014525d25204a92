//! Each check of an audit: a policy that obeys and one that violates.

use crate::support::{
    Guest,
    scaling::{ACTIVATION, DRIFT, RISK_OR_NONE, RISK_OR_WORST, SCORE_IF_SCORED, judging, needs},
};
use host_audit::{
    checks::{Audit, Field, Finding, Options, Verdict},
    synthetic::run_info,
};
use host_contract::{Calibration, Needs};
use host_sandbox::{
    Endorsement, Engine, Limits, Policy, PolicyKey, PublicKey, Signer, Statement, digest,
    signature_path,
};

/// Closed, with one number.
const SCHEMA: &str = r#"{"properties": {"weight": {"type": "number", "default": 1}}, "additionalProperties": false}"#;

fn audit_under(guest: &Guest, limits: &Limits, key: Option<(&Signer, &PublicKey)>) -> Audit {
    audit_but(guest, limits, key, &[])
}

fn audit_but(
    guest: &Guest,
    limits: &Limits,
    key: Option<(&Signer, &PublicKey)>,
    depends_on: &[Field],
) -> Audit {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.wasm");
    let bytes = guest.component();
    std::fs::write(&path, &bytes).unwrap();
    if let Some((signer, _)) = key {
        let text = signer.sign(Statement::Policy, &bytes, &endorsed(&bytes)).unwrap();
        std::fs::write(signature_path(&path), text).unwrap();
    }
    let policy = Policy::load(&Engine::new(limits).unwrap(), &path).unwrap();
    let signed_by = key.map(|(_, public)| PolicyKey::Minisign(public.clone()));
    let options = Options {
        settings: "{}",
        run: run_info(30, 16, 17),
        seed: 17,
        depends_on,
        runs: Vec::new(),
        calibrated: None,
        signed_by: signed_by.as_ref(),
        repeats: 5,
    };
    host_audit::checks::audit(&policy, &path, &options, &mut |_| {}).unwrap()
}

pub fn audit(guest: &Guest) -> Audit {
    audit_under(guest, &Limits::default(), None)
}

#[track_caller]
fn finding<'a>(audit: &'a Audit, id: &str) -> &'a Finding {
    let found = audit.findings.iter().find(|finding| finding.id == id);
    found.unwrap_or_else(|| panic!("no finding {id}"))
}

/// The verdict of one check of a policy that differs from the obedient one.
#[track_caller]
fn check(id: &str, changes: &[(&'static str, &'static str)], verdict: Verdict) -> String {
    let audit = audit(&judging(changes));
    let found = finding(&audit, id);
    assert_eq!(found.verdict, verdict, "{}: {}", found.id, found.measured);
    assert_eq!(audit.passed, audit.findings.iter().all(|f| f.verdict != Verdict::Fail));
    found.measured.clone()
}

/// What `host policy sign` says of it.
fn endorsed(bytes: &[u8]) -> String {
    let said = Endorsement {
        name: "fixed".into(),
        version: "1.0.0".into(),
        sha256: digest(bytes),
        expires: None,
    };
    said.comment().unwrap()
}

#[test]
fn an_obedient_policy_passes_with_nothing_but_passes() {
    let mut guest = judging(&[("signal", ACTIVATION), ("risk", RISK_OR_WORST)]);
    guest.descriptor.settings_schema =
        r#"{"properties": {}, "additionalProperties": false}"#.into();
    let audit = audit(&guest);
    assert!(audit.passed);
    for finding in &audit.findings {
        let fine = matches!(finding.verdict, Verdict::Pass | Verdict::NotApplicable);
        // An activation of 0 has nothing to say, and the interval it falls in is not high.
        let known = ["activations-zero", "risk-follows", "settings-no-object"];
        assert!(fine || known.contains(&finding.id), "{}: {}", finding.id, finding.measured);
    }
    assert_eq!(finding(&audit, "purity").verdict, Verdict::Pass);
    assert_eq!(finding(&audit, "purity-reload").verdict, Verdict::Pass);
    assert_eq!(finding(&audit, "descriptor").verdict, Verdict::Pass);
    assert!(finding(&audit, "purity").measured.starts_with("5 fresh instances: the same bytes"));
    assert_eq!(audit.inspection.structure.imports, Vec::<String>::new());
    assert_eq!(audit.inspection.structure.core_modules, 1);
}

#[test]
fn an_audit_is_the_same_every_time() {
    let json = |audit: &Audit| {
        let text = serde_json::to_string(audit).unwrap();
        // Each audit had a folder of its own.
        text.replace(&audit.inspection.file, "")
    };
    let guest = judging(&[]);
    assert_eq!(json(&audit(&guest)), json(&audit(&guest)));
}

#[test]
fn hold_must_grow_with_risk() {
    check("monotonic", &[], Verdict::Pass);
    let kl = check("monotonic", &[("kl", "(f64.sub (f64.const 1) (local.get $r))")], Verdict::Fail);
    assert!(kl.contains("risk 0 gets task weight 1 and KL weight 1"), "{kl}");
    check("monotonic", &[("task", "(local.get $r)")], Verdict::Fail);
    check("monotonic", &[("risk", "(f64.const 0.5)")], Verdict::NotApplicable);
}

#[test]
fn risk_should_follow_the_signals() {
    check("risk-follows", &[], Verdict::Pass);
    let turned = "(f64.div (f64.sub (f64.const 5) (local.get $x)) (f64.const 4))";
    check("risk-follows", &[("risk", turned)], Verdict::Note);
    check("risk-follows", &[("risk", "(f64.const 0.5)")], Verdict::NotApplicable);
}

#[test]
fn order_and_independence_of_the_batch() {
    check("order", &[], Verdict::Pass);
    check("batch-independence", &[], Verdict::Pass);
    let by_place = "(f64.div (f64.convert_i32_u (local.get $i)) (f64.const 1000))";
    check("order", &[("risk", by_place)], Verdict::Note);
    let by_size = "(f64.div (f64.convert_i32_u (local.get $n)) (f64.const 1000))";
    check("order", &[("risk", by_size)], Verdict::Pass);
    check("batch-independence", &[("risk", by_size)], Verdict::Note);
}

#[test]
fn broken_norms_must_not_pass_for_harmless() {
    check("norms-not-finite", &[], Verdict::NotApplicable);
    for (risk, verdict) in [(RISK_OR_NONE, Verdict::Fail), (RISK_OR_WORST, Verdict::Pass)] {
        let mut guest = judging(&[("signal", DRIFT), ("risk", risk)]);
        guest.configure = Ok(Needs { drift: true, ..needs() });
        let audit = audit(&guest);
        let found = finding(&audit, "norms-not-finite");
        assert_eq!(found.verdict, verdict, "{}", found.measured);
    }
}

#[test]
fn cost_should_grow_with_the_batch_at_most() {
    check("fuel-growth", &[], Verdict::Pass);
    let square = "
        (local.set $j (i32.mul (local.get $n) (local.get $n)))
        (loop $spin
          (local.set $j (i32.sub (local.get $j) (i32.const 1)))
          (br_if $spin (i32.gt_s (local.get $j) (i32.const 0))))";
    let measured = check("fuel-growth", &[("before", square)], Verdict::Note);
    assert!(measured.contains("to the power 1."), "{measured}");
    let limits = Limits { fuel_per_call: 100_000, ..Limits::default() };
    let audit = audit_under(&judging(&[("before", square)]), &limits, None);
    let found = finding(&audit, "fuel-growth");
    assert_eq!(found.verdict, Verdict::Fail, "{}", found.measured);
    assert!(found.measured.contains("fuel_per_call"), "{}", found.measured);
}

#[test]
fn memory_near_its_limit_is_noted() {
    check("memory", &[], Verdict::Pass);
    let limits = Limits { memory_bytes: 512 << 10, ..Limits::default() };
    let grow = [("before", "(drop (memory.grow (i32.const 4)))")];
    let audit = audit_under(&judging(&grow), &limits, None);
    assert_eq!(finding(&audit, "memory").verdict, Verdict::Note);
}

#[test]
fn broken_activations_must_not_pass_for_harmless() {
    for id in ["activations-not-finite", "activations-huge"] {
        check(id, &[("signal", ACTIVATION), ("risk", RISK_OR_WORST)], Verdict::Pass);
        check(id, &[("signal", ACTIVATION), ("risk", RISK_OR_NONE)], Verdict::Fail);
    }
    // NaN in, NaN out: the host stops it, and the policy did not know.
    let through = "(f64.div (local.get $x) (f64.const 100))";
    let measured = check(
        "activations-not-finite",
        &[("signal", ACTIVATION), ("risk", through)],
        Verdict::Fail,
    );
    assert!(measured.contains("risk[0] is NaN"), "{measured}");
}

#[test]
fn silence_of_a_judge_must_not_pass_for_harmless() {
    check("judges-silent", &[], Verdict::Pass);
    let measured = check("judges-silent", &[("signal", SCORE_IF_SCORED)], Verdict::Fail);
    assert!(measured.contains("missing: risk 0"), "{measured}");
    let mut guest = judging(&[("signal", "(f64.const 2)")]);
    guest.configure = Ok(Needs { judges: Vec::new(), ..needs() });
    assert_eq!(finding(&audit(&guest), "judges-silent").verdict, Verdict::NotApplicable);
}

#[test]
fn steps_of_unusual_size_must_not_crash() {
    let crash = |size: &'static str| [("before", size)];
    check("empty-step", &[], Verdict::Pass);
    check("single-sample", &[], Verdict::Pass);
    let empty = "(if (i32.eqz (local.get $n)) (then unreachable))";
    check("empty-step", &crash(empty), Verdict::Fail);
    let single = "(if (i32.eq (local.get $n) (i32.const 1)) (then unreachable))";
    check("single-sample", &crash(single), Verdict::Fail);
}

#[test]
fn a_policy_that_never_holds_is_noted() {
    let held = check("ranges", &[], Verdict::Pass);
    assert!(held.contains("KL weight 0 to 1"), "{held}");
    check("ranges", &[("kl", "(f64.const 0)")], Verdict::Note);
}

#[test]
fn settings_must_be_checked() {
    let with = |schema: &str, changes: &[(&'static str, &'static str)]| {
        let mut guest = judging(changes);
        guest.descriptor.settings_schema = schema.into();
        audit(&guest)
    };
    let careless = [("configure", "")];
    let id = "settings-unknown-key";
    assert_eq!(finding(&with(SCHEMA, &[]), id).verdict, Verdict::Pass);
    assert_eq!(finding(&with(SCHEMA, &careless), id).verdict, Verdict::Fail);
    assert_eq!(finding(&with("{}", &careless), id).verdict, Verdict::Note);
    let id = "settings-wrong-kind";
    assert_eq!(finding(&with(SCHEMA, &[]), id).verdict, Verdict::Pass);
    assert_eq!(finding(&with(SCHEMA, &careless), id).verdict, Verdict::Fail);
    // One that takes {} alone refuses its own defaults.
    let id = "settings-defaults";
    assert_eq!(finding(&with(SCHEMA, &[]), id).verdict, Verdict::Fail);
    assert_eq!(finding(&with(SCHEMA, &careless), id).verdict, Verdict::Pass);
    let id = "settings-no-object";
    assert_eq!(finding(&with(SCHEMA, &careless), id).verdict, Verdict::Note);
}

/// Returns the state that it got and eight bytes more.
const LONGER_STATE: &str = "
    (local.set $j (i32.add (i32.load offset=60 (local.get 0)) (i32.const 8)))
    (i32.store (i32.const {{assess/ok/state}})
      (call $allocate (i32.const 0) (i32.const 0) (i32.const 8) (local.get $j)))
    (i32.store offset=4 (i32.const {{assess/ok/state}}) (local.get $j))";

/// Eight bytes at any step.
const STEADY_STATE: &str = "
    (i32.store (i32.const {{assess/ok/state}})
      (call $allocate (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 8)))
    (i32.store offset=4 (i32.const {{assess/ok/state}}) (i32.const 8))";

#[test]
fn a_growing_state_is_noted() {
    check("state-growth", &[("before", STEADY_STATE)], Verdict::Pass);
    let measured = check("state-growth", &[("before", LONGER_STATE)], Verdict::Note);
    assert!(measured.contains("1600 after 200"), "{measured}");
}

#[test]
fn a_policy_must_live_with_its_own_state() {
    check("state-round-trip", &[("before", STEADY_STATE)], Verdict::Pass);
    let crash = "
        (if (i32.load offset=60 (local.get 0)) (then unreachable))
        (i32.store (i32.const {{assess/ok/state}}) (i32.const 1024))
        (i32.store offset=4 (i32.const {{assess/ok/state}}) (i32.const 8))";
    let measured = check("state-round-trip", &[("before", crash)], Verdict::Fail);
    assert!(measured.starts_with("step 1: "), "{measured}");
}

#[test]
fn damaged_state_is_noticed_or_noted() {
    check("state-damaged", &[("before", STEADY_STATE)], Verdict::Pass);
    let crash =
        "(if (i32.gt_u (i32.load offset=60 (local.get 0)) (i32.const 8)) (then unreachable))";
    let measured = check("state-damaged", &[("before", crash)], Verdict::Note);
    assert!(measured.contains("ended in a fault"), "{measured}");
    // The last bit of the state decides.
    let believe = "(if (result f64) (i32.load offset=60 (local.get 0))
        (then (f64.div (f64.convert_i32_u (i32.load8_u (i32.load offset=56 (local.get 0)))) (f64.const 255)))
        (else (f64.const 0.5)))";
    let changes = [("before", STEADY_STATE), ("risk", believe)];
    let measured = check("state-damaged", &changes, Verdict::Note);
    assert!(measured.contains("with another answer"), "{measured}");
}

#[test]
fn a_policy_that_answers_nothing_fails_at_once() {
    // Always two samples, whatever it is asked.
    let mut guest = Guest::new();
    guest.configure = Ok(needs());
    let audit = audit(&guest);
    assert!(!audit.passed);
    let found = finding(&audit, "answers");
    assert!(found.measured.contains("risk has 2 values; it must have 8"), "{}", found.measured);
    assert!(audit.findings.iter().all(|one| one.id != "purity"));
}

#[test]
fn calibration_on_two_clusters() {
    let calibrated = Needs { calibration: true, ..needs() };
    let mut guest = judging(&[]);
    guest.configure = Ok(calibrated.clone());
    guest.calibrate =
        Ok(Calibration { needs: calibrated, ..crate::support::sample::calibration() });
    let fit = audit(&guest);
    assert_eq!(finding(&fit, "calibration").verdict, Verdict::Pass);
    assert_eq!(finding(&fit, "calibrate-purity").verdict, Verdict::Pass);
    guest.calibrate = Err("not today".into());
    let unfit = audit(&guest);
    assert!(!unfit.passed);
    assert!(finding(&unfit, "calibration").measured.contains("not today"));
    assert!(unfit.findings.iter().all(|one| one.id != "answers"));
}

#[test]
fn a_signature_that_was_asked_for_must_be_right() {
    let folder = tempfile::tempdir().unwrap();
    let signer = |name: &str| Signer::open_or_create(&folder.path().join(name)).unwrap().0;
    let (team, other) = (signer("team.key"), signer("other.key"));
    let guest = judging(&[]);
    let with = |signer, key| audit_under(&guest, &Limits::default(), Some((signer, key)));
    let valid = with(&team, team.public());
    let found = finding(&valid, "signature");
    assert_eq!(found.verdict, Verdict::Pass);
    assert!(found.measured.contains(&team.public().id()), "{}", found.measured);
    let wrong = with(&other, team.public());
    assert_eq!(finding(&wrong, "signature").verdict, Verdict::Fail);
    assert!(!wrong.passed);
    let unsigned = audit(&guest);
    assert_eq!(finding(&unsigned, "signature").verdict, Verdict::NotApplicable);
}

/// Each holds only where something is so that has nothing to do with what is measured.
#[test]
fn a_policy_that_knows_an_audit_by_something_is_found() {
    let triggers = [
        ("total-steps", "(i64.eq (i64.load offset=24 (local.get 0)) (i64.const 1000))"),
        ("total-steps", "(i64.lt_u (i64.load offset=24 (local.get 0)) (i64.const 3000))"),
        ("seed", "(i64.eq (i64.load offset=32 (local.get 0)) (i64.const 17))"),
        ("seed", "(i64.eqz (i64.and (i64.load offset=32 (local.get 0)) (i64.const 1)))"),
        ("vocabulary", "(i32.eq (i32.load offset=16 (local.get 0)) (i32.const 49152))"),
        ("samples-per-step", "(i32.eq (i32.load offset=20 (local.get 0)) (i32.const 8))"),
        ("step", "(i64.lt_u (i64.load offset=64 (local.get 0)) (i64.const 250))"),
        ("step", "(i64.lt_u (i64.load offset=64 (local.get 0)) (i64.const 4000))"),
        ("ids", "(i64.eq (i64.load (i32.load offset=80 (local.get 0))) (i64.const 1))"),
        ("learning-rate", "(f64.lt (f64.load offset=72 (local.get 0)) (f64.const 0.0005))"),
    ];
    for (field, holds) in triggers {
        let kl: &'static str = format!("(select (local.get $r) (f64.const 0) {holds})").leak();
        let guest = judging(&[("kl", kl)]);
        let one = audit(&guest);
        let id = format!("depends-on-{field}");
        let found = finding(&one, &id);
        assert_eq!(found.verdict, Verdict::Fail, "{holds}: {}", found.measured);
        assert!(found.measured.contains("KL weight"), "{}", found.measured);
        assert!(found.meaning.contains(&format!("--depends-on {field}")), "{}", found.meaning);
        // The word of the person who knows why.
        let (_, meant) = Field::ALL.iter().find(|(name, _)| *name == field).unwrap();
        let one = audit_but(&guest, &Limits::default(), None, &[*meant]);
        assert_eq!(finding(&one, &id).verdict, Verdict::Note);
        assert_eq!(finding(&one, "depends-on-run").verdict, Verdict::Pass, "{holds}");
    }
    // Two things at once, of which neither is wrong by itself.
    let both = "(select (local.get $r) (f64.const 0) (i32.eqz (i32.and
        (i32.lt_u (i32.load offset=16 (local.get 0)) (i32.const 10000))
        (i64.lt_u (i64.load offset=24 (local.get 0)) (i64.const 2000)))))";
    check("depends-on-run", &[("kl", both)], Verdict::Fail);
}

/// What it carries from step to step is a clock.
#[test]
fn a_policy_that_lets_go_after_a_while_is_noted() {
    // The state is a byte longer after every step.
    let before = "
    (local.set $j (i32.add (i32.const 1) (i32.load offset=60 (local.get 0))))
    (i32.store (i32.const {{assess/ok/state}})
      (call $allocate (i32.const 0) (i32.const 0) (i32.const 1) (local.get $j)))
    (i32.store offset=4 (i32.const {{assess/ok/state}}) (local.get $j))";
    let kl = "(select (local.get $r) (f64.const 0) (i32.lt_u (local.get $j) (i32.const 300)))";
    let measured = check("hold-late", &[("before", before), ("kl", kl)], Verdict::Note);
    assert!(measured.contains("KL weight 0, task weight 0 after"), "{measured}");
    let measured = check("hold-late", &[], Verdict::Pass);
    assert!(measured.contains("steps a harmful step kept at least"), "{measured}");
}
