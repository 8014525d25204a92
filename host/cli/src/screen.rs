//! Progress on stderr: stages, one bar, notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use host_trainer::observer::{Observer, Progress};
use host_trainer::records::StepRecord;
use host_trainer::selection::EvaluationRecord;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::out::{Log, say_words, stderr_width};

/// Sends the libraries' logs to stderr; `-v` shows more of them. Ranks that don't `speak`
/// log errors only.
pub fn log(verbose: u8, speaks: bool) {
    let default = match verbose {
        _ if !speaks => "error",
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Log)
        // The colours would be escaped with the rest.
        .with_ansi(false)
        .without_time()
        .init();
}

/// A progress bar on a terminal, lines elsewhere.
pub struct Screen {
    bar: ProgressBar,
    is_terminal: bool,
    quiet: bool,
    stop: Arc<AtomicBool>,
    /// What was worth knowing, each once.
    notices: Vec<String>,
}

/// Characters in front of each line that is shown of a table.
const INDENT: usize = 2;

impl Screen {
    pub fn new(quiet: bool) -> Self {
        let is_terminal = console_is_terminal();
        Self {
            bar: ProgressBar::hidden(),
            is_terminal,
            quiet,
            stop: Arc::default(),
            notices: Vec::new(),
        }
    }

    /// A screen whose work ends early when `stop` becomes true.
    pub fn stopped_by(quiet: bool, stop: &Arc<AtomicBool>) -> Self {
        let mut screen = Self::new(quiet);
        screen.stop = stop.clone();
        screen
    }

    /// All that was said of the work, each once: much of it has left the screen by the end.
    pub fn notices(&self) -> Vec<String> {
        self.notices.clone()
    }

    fn line(&self, text: &str) {
        if !self.quiet {
            self.bar.suspend(|| say_words(text));
        }
    }
}

impl Observer for Screen {
    fn step(&mut self, record: &StepRecord) {
        let text = describe(record);
        self.bar.set_message(brief(record));
        self.bar.inc(1);
        let every = (record.total / 10).max(1);
        let last = record.step + 1 == record.total;
        if !self.is_terminal
            && ((record.step + 1).is_multiple_of(every) || record.step == 0 || last)
        {
            self.line(&format!("  step {}/{} {text}", record.step + 1, record.total));
        }
    }

    fn evaluated(&mut self, record: &EvaluationRecord) {
        self.line(&format!("  evaluation at {}", record.line()));
    }
}

impl Progress for Screen {
    fn stage(&mut self, what: &str, length: Option<u64>) {
        self.bar.finish_and_clear();
        self.line(&format!("> {what}"));
        if self.quiet || !self.is_terminal {
            return;
        }
        self.bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
        // `wide_msg` leaves out what a line has no room for, from the end.
        let template = match length {
            Some(_) => "  {bar:12} {pos}/{len} {elapsed}<{eta} {wide_msg}",
            None => "  {spinner} {elapsed} {wide_msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
        self.bar.enable_steady_tick(Duration::from_millis(200));
    }

    fn advance(&mut self, by: u64) {
        self.bar.inc(by);
    }

    fn notice(&mut self, text: &str) {
        if !self.notices.iter().any(|known| known == text) {
            self.notices.push(text.to_owned());
        }
        self.line(&format!("note: {text}"));
    }

    fn width(&self) -> Option<usize> {
        Some(stderr_width()?.saturating_sub(INDENT))
    }

    fn show(&mut self, title: &str, text: &str) {
        self.line(&format!("{title}:"));
        for line in text.lines() {
            self.line(&format!("{:INDENT$}{line}", ""));
        }
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn describe(record: &StepRecord) -> String {
    let mut text = format!("loss {:.3} task {:.3}", record.loss, record.task_loss);
    if let Some(kl) = record.kl {
        text.push_str(&format!(" kl {kl:.3}"));
    }
    if let (Some(risk), Some(max)) = (record.risk, record.max_risk) {
        text.push_str(&format!(" risk {risk:.2} (max {max:.2})"));
        text.push_str(&format!(
            " weights task {:.2} kl {:.2}",
            record.task_weight, record.kl_weight
        ));
    }
    text.push_str(&format!(
        " lr {:.1e} {:.0} tok/s",
        record.learning_rate, record.tokens_per_second
    ));
    text
}

/// The same for one line of 80 characters beside a bar: what matters most comes first.
fn brief(record: &StepRecord) -> String {
    let mut text = format!("loss {:.2}", record.loss);
    if let Some(kl) = record.kl {
        text.push_str(&format!(" kl {kl:.2}"));
    }
    if let (Some(risk), Some(max)) = (record.risk, record.max_risk) {
        text.push_str(&format!(" risk {risk:.2}/{max:.2}"));
        text.push_str(&format!(" w {:.2}/{:.2}", record.task_weight, record.kl_weight));
    }
    text.push_str(&match record.tokens_per_second {
        ..1000.0 => format!(" {:.0} tok/s", record.tokens_per_second),
        rate => format!(" {:.1}k tok/s", rate / 1000.0),
    });
    text
}

fn console_is_terminal() -> bool {
    use std::io::IsTerminal;
    std::io::stderr().is_terminal()
}
