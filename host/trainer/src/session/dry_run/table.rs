//! A forecast for people.

use host_eval::report::Table;
use host_files::Page;

use super::Estimate;

impl Estimate {
    /// Reads well on a terminal and as Markdown.
    /// `width`: as [`Table::page`] has it.
    pub fn table(&self, width: Option<usize>) -> Page {
        let (memory, time) = (&self.memory, &self.time);
        let mut rows = vec![
            ("samples", self.samples.to_string()),
            ("steps", format!("{}, {} an epoch", self.steps, self.steps_per_epoch)),
            (
                "largest micro-batch",
                format!(
                    "{} samples, {} tokens, of them {} of answers",
                    self.largest.samples, self.largest.tokens, self.largest.answer_tokens
                ),
            ),
        ];
        let mut add = |name, bytes: Option<u64>| {
            let text = bytes.map_or("not known for these kernels".to_owned(), mebibytes);
            rows.push((name, text));
        };
        if memory.loaded.is_some() {
            add("memory: all that is loaded", memory.loaded);
        }
        add("memory: of that, the weights", Some(memory.weights));
        add("memory: adapter and optimizer", Some(memory.adapter));
        add("memory: the reference's cache", Some(memory.reference_cache));
        add("memory: activations", memory.activations);
        add("memory: or, in the loss, also", memory.loss);
        add("memory: or, in the backward pass, also", memory.backward);
        if memory.evaluation.is_some() {
            add("memory: or, in an evaluation", memory.evaluation);
        }
        add("memory at its highest", memory.peak);
        let seconds = |name, seconds: Option<f64>| seconds.map(|seconds| (name, duration(seconds)));
        rows.extend(seconds("time: a plain step", Some(time.plain_step)));
        rows.extend(seconds("time: a held step, first epoch", time.first_held_step));
        rows.extend(seconds("time: a held step, later", time.later_held_step));
        if let Some(one) = &self.evaluations {
            let each = duration(one.seconds);
            rows.push(("time: evaluations", format!("{each} each, {} of a training", one.count)));
        }
        rows.extend(seconds("time of the training", Some(time.total)));
        let mut table = Table::plain();
        table.header(["", "predicted"]);
        for (name, value) in rows {
            table.row([name, &value]);
        }
        let mut page = table.page(width);
        page.line(
            "times are as fast as this machine was just now; calibration and the evaluations before \
             and after come on top",
        );
        if let Some(lacking) = memory.lacking() {
            page.line(format!(
                "there are {} too few: lower --micro-batch, or set train.checkpoint_activations=true",
                mebibytes(lacking)
            ));
        }
        page
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}

fn duration(seconds: f64) -> String {
    match seconds {
        ..10.0 => format!("{seconds:.2} s"),
        ..120.0 => format!("{seconds:.0} s"),
        ..7200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}
