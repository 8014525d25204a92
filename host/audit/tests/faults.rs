//! Policies that go past a limit. Each limit has a message of its own, and the
//! counterpart that stays within it works.

use crate::support::{Guest, sample, says};
use host_sandbox::{Error, Limit, Limits, Result};

pub fn assess(guest: &Guest, limits: Limits) -> Result<()> {
    let policy = guest.load_with(&limits)?;
    let (run, signals, needs) = (sample::run(), sample::signals(), sample::needs());
    policy.assess(sample::call(&run, &signals, &needs)).map(|_| ())
}

/// The fault of a guest in assess.
#[track_caller]
pub fn fault(guest: &Guest, limits: Limits, parts: &[&str]) -> Error {
    let error = assess(guest, limits).unwrap_err();
    says(&error, &["policy fixed (test.wasm), assess at step 12: "]);
    says(&error, parts);
    assert!(error.is_fault());
    error
}

#[track_caller]
fn limit(error: Error, expected: Limit) {
    assert!(matches!(error, Error::Limit { limit, .. } if limit == expected), "{error:?}");
}

const SPIN: &str = "(loop $forever (br $forever))";
/// A thousand rounds, which take about 7000 instructions.
const WORK: &str = "(global.set $called (i32.const 1000))
    (loop $again (global.set $called (i32.sub (global.get $called) (i32.const 1))) (br_if $again (global.get $called)))";

#[test]
fn fuel() {
    let limits = |fuel_per_call| Limits { fuel_per_call, ..Limits::default() };
    let error = fault(
        &Guest::running("assess", SPIN),
        limits(1_000_000),
        &["fuel", "1000000", "limits.fuel_per_call"],
    );
    limit(error, Limit::Fuel);
    let work = Guest::running("assess", WORK);
    limit(fault(&work, limits(5_000), &[]), Limit::Fuel);
    assess(&work, limits(20_000)).unwrap();
}

#[test]
fn fuel_while_starting() {
    let limits = Limits { fuel_per_call: 1_000_000, ..Limits::default() };
    let error = Guest::running("start", SPIN).load_with(&limits).unwrap_err();
    says(&error, &["policy test.wasm, describe: stopped after 1000000 instructions (its fuel)"]);
    limit(error, Limit::Fuel);
    Guest::running("start", WORK).load_with(&limits).unwrap();
}

#[test]
fn wall_clock() {
    let limits =
        Limits { fuel_per_call: u64::MAX / 2, call_milliseconds: 200, ..Limits::default() };
    let started = std::time::Instant::now();
    let error = fault(
        &Guest::running("assess", SPIN),
        limits.clone(),
        &["200", "limits.call_milliseconds"],
    );
    assert!(started.elapsed().as_millis() < 5000);
    limit(error, Limit::Time);
    assess(&Guest::running("assess", WORK), limits).unwrap();
}

#[test]
fn calibrate_has_its_own_allowance() {
    let guest = Guest::running("calibrate", WORK);
    let calibrate = |calibrate_fuel| {
        let limits = Limits { fuel_per_call: 5_000, calibrate_fuel, ..Limits::default() };
        guest.load_with(&limits).unwrap().calibrate("{}", &sample::run(), &sample::examples())
    };
    calibrate(20_000).unwrap();
    says(&calibrate(5_000).unwrap_err(), &["calibrate: stopped", "5000", "limits.calibrate_fuel"]);
}

#[test]
fn memory() {
    let grow = "(drop (memory.grow (i32.const 99)))";
    let limits = |pages: u64| Limits { memory_bytes: pages * 65536, ..Limits::default() };
    let guest = Guest::running("assess", grow);
    let error = fault(
        &guest,
        limits(99),
        &["asked for more than 6336 KiB of memory", "limits.memory_bytes"],
    );
    limit(error, Limit::Memory);
    assess(&guest, limits(100)).unwrap();
    let bomb = Guest::running(
        "assess",
        "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))",
    );
    limit(fault(&bomb, Limits::default(), &[]), Limit::Memory);
}

#[test]
fn memory_at_the_start() {
    let load = |memory_bytes| Guest::new().load_with(&Limits { memory_bytes, ..Limits::default() });
    let error = load(65535).unwrap_err();
    says(
        &error,
        &["policy test.wasm, describe: stopped when it asked for more than 65535 bytes of memory"],
    );
    limit(error, Limit::Memory);
    load(65536).unwrap();
}

#[test]
fn tables() {
    let limits = |table_elements, tables| Limits { table_elements, tables, ..Limits::default() };
    let grow = "(drop (table.grow $t (ref.null func) (i32.const 999)))";
    let guest =
        Guest { code: vec![("declare", "(table $t 1 funcref)"), ("assess", grow)], ..Guest::new() };
    limit(fault(&guest, limits(999, 9), &["limits.table_elements"]), Limit::TableElements);
    assess(&guest, limits(1000, 9)).unwrap();
    let error = guest.load_with(&limits(1000, 0)).unwrap_err();
    says(&error, &["the component has more than 0 tables", "limits.tables"]);
}

#[test]
fn instances_and_memories() {
    let guest = Guest::new();
    let none = Limits { instances: 0, ..Limits::default() };
    says(&guest.load_with(&none).unwrap_err(), &["more than 0 instances", "limits.instances"]);
    let none = Limits { memories: 0, ..Limits::default() };
    says(&guest.load_with(&none).unwrap_err(), &["more than 0 memories", "limits.memories"]);
    guest.load_with(&Limits { memories: 1, ..Limits::default() }).unwrap();
}

#[test]
fn stack() {
    let recurse = "(func $deep (param i32) (if (local.get 0) (then (call $deep (i32.sub (local.get 0) (i32.const 1))))))";
    let with = |call| Guest { code: vec![("declare", recurse), ("assess", call)], ..Guest::new() };
    let error = fault(
        &with("(call $deep (i32.const -1))"),
        Limits::default(),
        &["stack overflow, with 1 MiB of stack", "limits.stack_bytes"],
    );
    limit(error, Limit::Stack);
    assess(&with("(call $deep (i32.const 100))"), Limits::default()).unwrap();
}

#[test]
fn output_and_state() {
    let guest = Guest::answering(|a| a.state = vec![7; 5000]);
    let limits =
        |output_bytes, state_bytes| Limits { output_bytes, state_bytes, ..Limits::default() };
    limit(
        fault(
            &guest,
            limits(5000, 10_000),
            &["its answer takes more than 5000 bytes", "limits.output_bytes"],
        ),
        Limit::Output,
    );
    limit(
        fault(&guest, limits(10_000, 4999), &["the state takes more than 4999 bytes"]),
        Limit::State,
    );
    assess(&guest, limits(10_000, 5000)).unwrap();
}

#[test]
fn counts() {
    let guest = Guest::answering(|a| {
        a.reasons = vec![a.reasons[0].clone(); 3];
        a.metrics.clear();
    });
    let limits = |reasons| Limits { reasons, ..Limits::default() };
    limit(fault(&guest, limits(2), &["more than 2 reasons", "limits.reasons"]), Limit::Reasons);
    assess(&guest, limits(3)).unwrap();
    let none = Limits { metrics: 0, ..Limits::default() };
    limit(
        fault(&Guest::new(), none.clone(), &["more than 0 metrics", "limits.metrics"]),
        Limit::Metrics,
    );
    assess(&guest, none).unwrap();
}

#[test]
fn arguments() {
    // 32 activations of 4 bytes and 2 samples of 24. Too many of them are not the
    // policy's fault.
    let limits = |input_bytes| Limits { input_bytes, ..Limits::default() };
    let error = assess(&Guest::new(), limits(175)).unwrap_err();
    says(&error, &["its arguments take more than 175 bytes", "limits.input_bytes"]);
    assert!(!error.is_fault());
    limit(error, Limit::Input);
    assess(&Guest::new(), limits(176)).unwrap();

    let policy = Guest::new()
        .load_with(&Limits { settings_bytes: 4, parameters_bytes: 4, ..Limits::default() })
        .unwrap();
    policy.configure("{  }", &sample::run()).unwrap();
    says(&policy.configure("{   }", &sample::run()).unwrap_err(), &["limits.settings_bytes"]);
    says(
        &policy.calibrate("{}", &sample::run(), &sample::examples()).unwrap_err(),
        &["limits.parameters_bytes"],
    );
}

#[test]
fn limits_that_make_no_sense() {
    let error =
        Guest::new().load_with(&Limits { fuel_per_call: 0, ..Limits::default() }).unwrap_err();
    says(&error, &["limits.fuel_per_call: is 0"]);
    let error =
        Guest::new().load_with(&Limits { stack_bytes: 8 << 20, ..Limits::default() }).unwrap_err();
    says(&error, &["limits.stack_bytes: is 8388608"]);
    let error = serde_json::from_str::<Limits>(r#"{"fuel": 3}"#).unwrap_err();
    says(&error, &["unknown field `fuel`", "fuel_per_call"]);
    assert_eq!(serde_json::from_str::<Limits>("{}").unwrap(), Limits::default());
}
