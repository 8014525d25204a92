//! What a policy may use up. Set by whoever runs the host, never by the policy.

use crate::error::{Error, Function, Result};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// Limits of one call, of what crosses the boundary, and of the file.
///
/// Every one has its own message when it fires. Defaults leave room for policies
/// in interpreted languages on models with 4096 units and 32 layers, and stop a
/// runaway policy before it disturbs the machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Instructions of one `describe`, `configure` or `assess`. Counted, not timed,
    /// so a run stops at the same place on every machine. 10^10: a tight loop is
    /// stopped within half a second; `assess` of a probe takes about 10^6.
    pub fuel_per_call: u64,
    /// Instructions of `calibrate`. 10^12: fitting a probe on each of 32 layers of
    /// 4096 units takes about 10^11.
    pub calibrate_fuel: u64,
    /// Wall clock of one call: a backstop for what fuel does not count. 30 s,
    /// far beyond what the fuel allows on a working machine, so that a busy machine
    /// never fails a run that an idle one passes.
    pub call_milliseconds: u64,
    /// Wall clock of `calibrate`: 20 min, likewise.
    pub calibrate_milliseconds: u64,
    /// Linear memory of one call, over all memories of the component. 512 MiB: a
    /// Python guest takes about 50, the largest signals 64.
    pub memory_bytes: u64,
    /// Linear memory of `calibrate`. 3 GiB: it holds the activations of all examples
    /// on all layers, often twice, and one memory can't have more than 4.
    pub calibrate_memory_bytes: u64,
    /// Elements of all tables. 10^6 (8 MiB of host memory); large guests take 10^4.
    pub table_elements: u64,
    /// Core instances of one component. 256: Python guests take about 128.
    pub instances: u64,
    /// Tables of one component. 128: Python guests take about 64.
    pub tables: u64,
    /// Memories of one component. 16: Python guests take about 8.
    pub memories: u64,
    /// Stack of WebAssembly code. 1 MiB: interpreters recurse deeply, and it has to
    /// fit on the calling thread, of which Rust gives 2 MiB to new ones.
    pub stack_bytes: u64,
    /// What the host hands to one `assess`. 256 MiB: 128 samples x 32 layers x 4096
    /// units of f32 are 64.
    pub input_bytes: u64,
    /// What the host hands to `calibrate`. 2 GiB: 2000 examples x 33 layers x 4096
    /// units are 1.1.
    pub calibrate_input_bytes: u64,
    /// What one call may return, as the host holds it. 16 MiB: two token weights
    /// for each of 10^6 answer tokens are 8.
    pub output_bytes: u64,
    /// What `calibrate` may return. 256 MiB: an MLP per layer fits.
    pub calibrate_output_bytes: u64,
    /// State carried from step to step. 1 MiB: it is written at every step.
    pub state_bytes: u64,
    /// Calibrated parameters. 128 MiB: they are part of the run's files.
    pub parameters_bytes: u64,
    /// Settings (JSON). 1 MiB: they are written by people.
    pub settings_bytes: u64,
    /// Settings schema (JSON) of a descriptor: 256 KiB.
    pub schema_bytes: u64,
    /// Processor time for compiling a policy, over all cores. 120 s: a Python guest of
    /// 18 MB takes about 30, and 300 KB of malicious code would take 80 and more.
    pub compile_cpu_seconds: u64,
    /// Wall clock of the same: the backstop for a machine that is busy. 300 s.
    pub compile_milliseconds: u64,
    /// Address space of the process that compiles. 4 GiB: a Python guest takes about
    /// one, and 1.4 KB of malicious code would take that as well. With less than about
    /// 400 MiB nothing can be compiled.
    pub compile_memory_bytes: u64,
    /// The policy file. 64 MiB: a Python guest with numpy takes about 40.
    pub component_bytes: u64,
    /// Reasons in one assessment. 4096: several for each sample of a large step.
    pub reasons: u64,
    /// Metrics in one assessment, and of one candidate. 256: they become columns.
    pub metrics: u64,
    /// Rows in the report of `calibrate`. 4096: several classifiers on 100 layers.
    pub candidates: u64,
    /// Characters of a message that are shown; the rest is cut. 1000: a paragraph.
    pub text_characters: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel_per_call: 10_000_000_000,
            calibrate_fuel: 1_000_000_000_000,
            call_milliseconds: 30_000,
            calibrate_milliseconds: 1_200_000,
            memory_bytes: 512 * MIB,
            calibrate_memory_bytes: 3072 * MIB,
            table_elements: 1_000_000,
            instances: 256,
            tables: 128,
            memories: 16,
            stack_bytes: MIB,
            input_bytes: 256 * MIB,
            calibrate_input_bytes: 2048 * MIB,
            output_bytes: 16 * MIB,
            calibrate_output_bytes: 256 * MIB,
            state_bytes: MIB,
            parameters_bytes: 128 * MIB,
            settings_bytes: MIB,
            schema_bytes: MIB / 4,
            compile_cpu_seconds: 120,
            compile_milliseconds: 300_000,
            compile_memory_bytes: 4096 * MIB,
            component_bytes: 64 * MIB,
            reasons: 4096,
            metrics: 256,
            candidates: 4096,
            text_characters: 1000,
        }
    }
}

/// The part of the limits that depends on the function.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    pub fuel: u64,
    pub time: Duration,
    pub memory_bytes: u64,
    pub input_bytes: u64,
    pub output_bytes: u64,
}

impl Limits {
    /// Finds limits under which nothing could run, or the host itself would be at
    /// risk.
    pub fn check(&self) -> Result<()> {
        let positive = [
            ("fuel_per_call", self.fuel_per_call),
            ("calibrate_fuel", self.calibrate_fuel),
            ("call_milliseconds", self.call_milliseconds),
            ("calibrate_milliseconds", self.calibrate_milliseconds),
            ("memory_bytes", self.memory_bytes),
            ("calibrate_memory_bytes", self.calibrate_memory_bytes),
            ("stack_bytes", self.stack_bytes),
            ("compile_cpu_seconds", self.compile_cpu_seconds),
            ("compile_milliseconds", self.compile_milliseconds),
            ("compile_memory_bytes", self.compile_memory_bytes),
            ("component_bytes", self.component_bytes),
            ("text_characters", self.text_characters),
        ];
        if let Some((field, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(Error::Limits { field, problem: "is 0, so no policy could run".into() });
        }
        let largest = 3 * MIB / 2;
        if self.stack_bytes > largest {
            let problem = format!(
                "is {}, but at most {largest} fit on the stack of a thread",
                self.stack_bytes
            );
            return Err(Error::Limits { field: "stack_bytes", problem });
        }
        Ok(())
    }

    pub(crate) fn allowance(&self, function: Function) -> Allowance {
        if function == Function::Calibrate {
            return Allowance {
                fuel: self.calibrate_fuel,
                time: Duration::from_millis(self.calibrate_milliseconds),
                memory_bytes: self.calibrate_memory_bytes,
                input_bytes: self.calibrate_input_bytes,
                output_bytes: self.calibrate_output_bytes,
            };
        }
        Allowance {
            fuel: self.fuel_per_call,
            time: Duration::from_millis(self.call_milliseconds),
            memory_bytes: self.memory_bytes,
            input_bytes: self.input_bytes,
            output_bytes: self.output_bytes,
        }
    }

    /// What is allowed of one kind in a call of one function.
    pub(crate) fn allowed(&self, limit: Limit, function: Function) -> u64 {
        let call = self.allowance(function);
        match limit {
            Limit::Fuel => call.fuel,
            Limit::Time => call.time.as_millis() as u64,
            Limit::Memory => call.memory_bytes,
            Limit::TableElements => self.table_elements,
            Limit::Instances => self.instances,
            Limit::Tables => self.tables,
            Limit::Memories => self.memories,
            Limit::Stack => self.stack_bytes,
            Limit::Input => call.input_bytes,
            Limit::Output => call.output_bytes,
            Limit::State => self.state_bytes,
            Limit::Parameters => self.parameters_bytes,
            Limit::Settings => self.settings_bytes,
            Limit::Schema => self.schema_bytes,
            Limit::CompileCpu => self.compile_cpu_seconds,
            Limit::CompileTime => self.compile_milliseconds,
            Limit::CompileMemory => self.compile_memory_bytes,
            Limit::Reasons => self.reasons,
            Limit::Metrics => self.metrics,
            Limit::Candidates => self.candidates,
        }
    }
}

/// A limit that fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Fuel,
    Time,
    Memory,
    TableElements,
    Instances,
    Tables,
    Memories,
    Stack,
    Input,
    Output,
    State,
    Parameters,
    Settings,
    Schema,
    CompileCpu,
    CompileTime,
    CompileMemory,
    Reasons,
    Metrics,
    Candidates,
}

impl Limit {
    /// The setting behind it, as it is called in the run's configuration.
    pub fn setting(self, function: Function) -> &'static str {
        let calibrate = function == Function::Calibrate;
        match self {
            Self::Fuel if calibrate => "calibrate_fuel",
            Self::Fuel => "fuel_per_call",
            Self::Time if calibrate => "calibrate_milliseconds",
            Self::Time => "call_milliseconds",
            Self::Memory if calibrate => "calibrate_memory_bytes",
            Self::Memory => "memory_bytes",
            Self::TableElements => "table_elements",
            Self::Instances => "instances",
            Self::Tables => "tables",
            Self::Memories => "memories",
            Self::Stack => "stack_bytes",
            Self::Input if calibrate => "calibrate_input_bytes",
            Self::Input => "input_bytes",
            Self::Output if calibrate => "calibrate_output_bytes",
            Self::Output => "output_bytes",
            Self::State => "state_bytes",
            Self::Parameters => "parameters_bytes",
            Self::Settings => "settings_bytes",
            Self::Schema => "schema_bytes",
            Self::CompileCpu => "compile_cpu_seconds",
            Self::CompileTime => "compile_milliseconds",
            Self::CompileMemory => "compile_memory_bytes",
            Self::Reasons => "reasons",
            Self::Metrics => "metrics",
            Self::Candidates => "candidates",
        }
    }

    /// What happened, with the allowed number in it.
    pub(crate) fn exceeded(self, allowed: u64) -> String {
        match self {
            Self::Fuel => format!("stopped after {allowed} instructions (its fuel)"),
            Self::Time => format!("stopped after {allowed} ms"),
            Self::Memory => {
                format!("stopped when it asked for more than {} of memory", size(allowed))
            }
            Self::TableElements => {
                format!("stopped when it asked for more than {allowed} table elements")
            }
            Self::Stack => format!("stopped by a stack overflow, with {} of stack", size(allowed)),
            Self::Instances => format!("the component has more than {allowed} instances"),
            Self::Tables => format!("the component has more than {allowed} tables"),
            Self::Memories => format!("the component has more than {allowed} memories"),
            Self::Input => format!("its arguments take more than {}", size(allowed)),
            Self::Output => format!("its answer takes more than {}", size(allowed)),
            Self::State => format!("the state takes more than {}", size(allowed)),
            Self::Parameters => format!("the parameters take more than {}", size(allowed)),
            Self::Settings => format!("the settings take more than {}", size(allowed)),
            Self::Schema => format!("the settings schema takes more than {}", size(allowed)),
            Self::CompileCpu => {
                format!("stopped after {allowed} s of processor time spent on compiling it")
            }
            Self::CompileTime => format!("stopped after compiling it for {allowed} ms"),
            Self::CompileMemory => {
                format!("stopped when compiling it took more than {} of memory", size(allowed))
            }
            Self::Reasons => format!("the assessment has more than {allowed} reasons"),
            Self::Metrics => format!("the answer has more than {allowed} metrics in one place"),
            Self::Candidates => format!("the calibration has more than {allowed} candidates"),
        }
    }

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
