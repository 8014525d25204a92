//! What a policy may use up. Set by whoever runs the host, never by the policy.
//!
//! Every limit stands here once: its setting with its default, and what is said when it
//! fires.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::call_site::Function;

const MIB: u64 = 1 << 20;

/// A setting of [`Limits`]: its name, and how to read it.
#[derive(Clone, Copy)]
struct Setting {
    name: &'static str,
    value: fn(&Limits) -> u64,
    /// With 0 nothing could run.
    positive: bool,
}

macro_rules! limits {
    (@positive) => { false };
    (@positive positive) => { true };
    ($( $(#[$doc:meta])* $field:ident = $default:expr $(, $positive:ident)?; )+) => {
        /// Limits of one call, of what crosses the boundary, and of the file.
        ///
        /// Every one has its own message when it fires. Defaults leave room for policies
        /// in interpreted languages on models with 4096 units and 32 layers, and stop a
        /// runaway policy before it disturbs the machine.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct Limits {
            $( $(#[$doc])* pub $field: u64, )+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $( $field: $default, )+ }
            }
        }

        /// The settings by their names.
        mod setting {
            use super::Setting;
            $(
                #[allow(non_upper_case_globals)]
                pub(super) const $field: Setting = Setting {
                    name: stringify!($field),
                    value: |limits| limits.$field,
                    positive: limits!(@positive $($positive)?),
                };
            )+
        }

        const SETTINGS: &[Setting] = &[$( setting::$field ),+];
    };
}

limits! {
    /// Instructions of one `describe`, `configure` or `assess`. Counted, not timed,
    /// so a run stops at the same place on every machine. 10^10: a tight loop is
    /// stopped within half a second; `assess` of a probe takes about 10^6.
    fuel_per_call = 10_000_000_000, positive;
    /// Instructions of `calibrate`. 10^12: fitting a probe on each of 32 layers of
    /// 4096 units takes about 10^11.
    calibrate_fuel = 1_000_000_000_000, positive;
    /// Wall clock of one call: a backstop for what fuel does not count. 30 s,
    /// far beyond what the fuel allows on a working machine, so that a busy machine
    /// never fails a run that an idle one passes.
    call_milliseconds = 30_000, positive;
    /// Wall clock of `calibrate`: 20 min, likewise.
    calibrate_milliseconds = 1_200_000, positive;
    /// Linear memory of one call, over all memories of the component. 512 MiB: a
    /// Python guest takes about 50, the largest signals 64.
    memory_bytes = 512 * MIB, positive;
    /// Linear memory of `calibrate`. 3 GiB: it holds the activations of all examples
    /// on all layers, often twice, and one memory can't have more than 4.
    calibrate_memory_bytes = 3072 * MIB, positive;
    /// Elements of all tables. 10^6 (8 MiB of host memory); large guests take 10^4.
    table_elements = 1_000_000;
    /// Core instances of one component. 256: Python guests take about 128.
    instances = 256;
    /// Tables of one component. 128: Python guests take about 64.
    tables = 128;
    /// Memories of one component. 16: Python guests take about 8.
    memories = 16;
    /// Stack of WebAssembly code. 1 MiB: interpreters recurse deeply, and it has to
    /// fit on the calling thread, of which Rust gives 2 MiB to new ones.
    stack_bytes = MIB, positive;
    /// What the host hands to one `assess`. 256 MiB: 128 samples x 32 layers x 4096
    /// units of f32 are 64.
    input_bytes = 256 * MIB;
    /// What the host hands to `calibrate`. 2 GiB: 2000 examples x 33 layers x 4096
    /// units are 1.1.
    calibrate_input_bytes = 2048 * MIB;
    /// What one call may return, as the host holds it. 16 MiB: two token weights
    /// for each of 10^6 answer tokens are 8.
    output_bytes = 16 * MIB;
    /// What `calibrate` may return. 256 MiB: an MLP per layer fits.
    calibrate_output_bytes = 256 * MIB;
    /// State carried from step to step. 1 MiB: it is written at every step.
    state_bytes = MIB;
    /// Calibrated parameters. 128 MiB: they are part of the run's files.
    parameters_bytes = 128 * MIB;
    /// Settings (JSON). 1 MiB: they are written by people.
    settings_bytes = MIB;
    /// Settings schema (JSON) of a descriptor: 256 KiB.
    schema_bytes = MIB / 4;
    /// Processor time for compiling a policy, over all cores. 120 s: a Python guest of
    /// 18 MB takes about 30, and 300 KB of malicious code would take 80 and more.
    compile_cpu_seconds = 120, positive;
    /// Wall clock of the same: the backstop for a machine that is busy. 300 s.
    compile_milliseconds = 300_000, positive;
    /// Address space of the process that compiles. 4 GiB: a Python guest takes about
    /// one, and 1.4 KB of malicious code would take that as well. With less than about
    /// 400 MiB nothing can be compiled.
    compile_memory_bytes = 4096 * MIB, positive;
    /// The policy file. 64 MiB: a Python guest with numpy takes about 40.
    component_bytes = 64 * MIB, positive;
    /// Reasons in one assessment. 4096: several for each sample of a large step.
    reasons = 4096;
    /// Metrics in one assessment, and of one candidate. 256: they become columns.
    metrics = 256;
    /// Reasons and metrics of one assessment, as they are recorded. 256 KiB: a sentence for each of
    /// 1000 samples is half of it.
    words_bytes = MIB / 4;
    /// The same over a whole run: each step has an equal part of it, so a replay finds the same.
    /// 4 GiB: 40 KiB for each of 100,000 steps.
    run_words_bytes = 4096 * MIB;
    /// Rows in the report of `calibrate`. 4096: several classifiers on 100 layers.
    candidates = 4096;
    /// Characters of a message that are shown; the rest is cut. 1000: a paragraph.
    text_characters = 1000, positive;
}

macro_rules! limit_kinds {
    (@calibrate $call:ident) => { setting::$call };
    (@calibrate $call:ident $calibrate:ident) => { setting::$calibrate };
    (@shown count) => { |allowed: u64| allowed.to_string() };
    (@shown bytes) => { size };
    ($( $kind:ident: $call:ident $(/ $calibrate:ident)?, $shown:ident $words:literal; )+) => {
        /// A limit that fired.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Limit {
            $( #[doc = $words] $kind, )+
        }

        impl Limit {
            fn kind(self) -> Kind {
                match self {
                    $( Self::$kind => Kind {
                        call: setting::$call,
                        calibrate: limit_kinds!(@calibrate $call $($calibrate)?),
                        words: $words,
                        shown: limit_kinds!(@shown $shown),
                    }, )+
                }
            }
        }
    };
}

/// The settings behind a limit, and what is said when it fires.
struct Kind {
    call: Setting,
    calibrate: Setting,
    /// With `#` for the number.
    words: &'static str,
    shown: fn(u64) -> String,
}

limit_kinds! {
    Fuel: fuel_per_call / calibrate_fuel, count "stopped after # instructions (its fuel)";
    Time: call_milliseconds / calibrate_milliseconds, count "stopped after # ms";
    Memory: memory_bytes / calibrate_memory_bytes,
        bytes "stopped when it asked for more than # of memory";
    TableElements: table_elements, count "stopped when it asked for more than # table elements";
    Instances: instances, count "the component has more than # instances";
    Tables: tables, count "the component has more than # tables";
    Memories: memories, count "the component has more than # memories";
    Stack: stack_bytes, bytes "stopped by a stack overflow, with # of stack";
    Input: input_bytes / calibrate_input_bytes, bytes "its arguments take more than #";
    Output: output_bytes / calibrate_output_bytes, bytes "its answer takes more than #";
    State: state_bytes, bytes "the state takes more than #";
    Parameters: parameters_bytes, bytes "the parameters take more than #";
    Settings: settings_bytes, bytes "the settings take more than #";
    Schema: schema_bytes, bytes "the settings schema takes more than #";
    CompileCpu: compile_cpu_seconds,
        count "stopped after # s of processor time spent on compiling it";
    CompileTime: compile_milliseconds, count "stopped after compiling it for # ms";
    CompileMemory: compile_memory_bytes,
        bytes "stopped when compiling it took more than # of memory";
    Reasons: reasons, count "the assessment has more than # reasons";
    Metrics: metrics, count "the answer has more than # metrics in one place";
    Words: words_bytes, bytes "the reasons and metrics of the assessment take more than #";
    RunWords: run_words_bytes,
        bytes "the reasons and metrics of the assessment take more than a step's part of #";
    Candidates: candidates, count "the calibration has more than # candidates";
}

/// A limit under which nothing could run, or the host itself would be at risk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("limits.{field}: {problem}")]
pub struct BadLimit {
    /// The setting.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

impl Limits {
    /// Finds limits under which nothing could run, or the host itself would be at
    /// risk.
    ///
    /// # Errors
    /// The first such limit.
    pub fn check(&self) -> Result<(), BadLimit> {
        let zero = |one: &&Setting| one.positive && (one.value)(self) == 0;
        if let Some(Setting { name, .. }) = SETTINGS.iter().find(zero) {
            let problem = "is 0, so no policy could run".into();
            return Err(BadLimit { field: name, problem });
        }
        let largest = 3 * MIB / 2;
        if self.stack_bytes > largest {
            let problem = format!(
                "is {}, but at most {largest} fit on the stack of a thread",
                self.stack_bytes
            );
            return Err(BadLimit { field: setting::stack_bytes.name, problem });
        }
        Ok(())
    }

    /// These limits for a replay on a machine that allows `own`: what an answer depends on is
    /// kept, and what depends on the machine is the machine's.
    ///
    /// # Errors
    /// The first limit that is beyond its own: its name, and the two values.
    pub fn replayed(&self, own: &Self) -> Result<Self, (&'static str, u64, u64)> {
        let of_machine = |one: &&Setting| {
            one.name.ends_with("_milliseconds") || one.name.starts_with("compile_")
        };
        let beyond = |one: &&Setting| !of_machine(one) && (one.value)(self) > (one.value)(own);
        if let Some(one) = SETTINGS.iter().find(beyond) {
            return Err((one.name, (one.value)(self), (one.value)(own)));
        }
        Ok(Self {
            call_milliseconds: own.call_milliseconds,
            calibrate_milliseconds: own.calibrate_milliseconds,
            compile_cpu_seconds: own.compile_cpu_seconds,
            compile_milliseconds: own.compile_milliseconds,
            compile_memory_bytes: own.compile_memory_bytes,
            ..self.clone()
        })
    }

    /// What is allowed of one kind in a call of one function.
    pub(crate) fn allowed(&self, limit: Limit, function: Function) -> u64 {
        (limit.of(function).value)(self)
    }

    /// Wall clock of a call of one function.
    pub(crate) fn time(&self, function: Function) -> Duration {
        Duration::from_millis(self.allowed(Limit::Time, function))
    }
}

impl Limit {
    fn of(self, function: Function) -> Setting {
        let kind = self.kind();
        match function {
            Function::Calibrate => kind.calibrate,
            _ => kind.call,
        }
    }

    /// The setting behind it, as it is called in the run's configuration.
    pub fn setting(self, function: Function) -> &'static str {
        self.of(function).name
    }

    /// What happened, with the allowed number in it.
    pub(crate) fn exceeded(self, allowed: u64) -> String {
        let kind = self.kind();
        kind.words.replace('#', &(kind.shown)(allowed))
    }

    /// What to do about it.
    pub(crate) fn remedy(self, function: Function) -> String {
        let setting = self.setting(function);
        match self {
            Self::Input => format!("use a smaller step or fewer taps, or raise limits.{setting}"),
            Self::Settings => format!("shorten them, or raise limits.{setting}"),
            _ => format!("fix the policy, or raise limits.{setting} if you trust it"),
        }
    }
}

/// Bytes as a person reads them, exactly.
fn size(bytes: u64) -> String {
    match bytes {
        0 => "0 bytes".to_owned(),
        _ if bytes.is_multiple_of(MIB) => format!("{} MiB", bytes / MIB),
        _ if bytes.is_multiple_of(1024) => format!("{} KiB", bytes / 1024),
        _ => format!("{bytes} bytes"),
    }
}
