//! The model card of what leaves a run: README.md, with a front matter in YAML for the Hub.
//!
//! Every text in it that comes from a file is escaped, so that it is neither markup nor a key.

use std::path::Path;

use host_data::Failure;
use host_eval::report::{Report, escape_markdown as escape};
use host_files::{capped, text};
use host_model::{Lora, Model};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::RunConfig;
use crate::error::Result;
use crate::session::manifest::{self, Manifest};

/// Of manifest.json and report.json.
const MOST_BYTES: u64 = 64 << 20;
/// Of metrics.jsonl.
const MOST_METRICS: u64 = 1 << 30;
/// Characters of a policy's settings.
const LONGEST: usize = 2000;

/// What a card is about.
pub struct Card<'a> {
    pub model: &'a Model,
    /// None for a model as it is.
    pub adapter: Option<&'a Lora>,
    /// Whether the adapter is in the weights.
    pub merged: bool,
    /// The run that made the adapter.
    pub run: Option<&'a Path>,
    pub config: &'a RunConfig,
    /// Data sets of the Hub, by their ids.
    pub datasets: &'a [String],
}

impl Card<'_> {
    /// The text of README.md.
    ///
    /// # Errors
    /// A file of the run that is damaged. One that isn't there is left out.
    pub fn text(&self) -> Result<String> {
        let manifest: Option<Manifest> = self.read(manifest::FILE)?;
        let report: Option<Report> = self.read("report.json")?;
        let mut page = self.front_matter();
        page += &self.title(manifest.as_ref());
        if let Some(manifest) = &manifest {
            page += &data(manifest);
            page += &policies(manifest);
        }
        page += &self.training(report.as_ref())?;
        page += &safety(report.as_ref());
        page += &self.use_of_it();
        Ok(page)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let Some(path) = self.run.map(|run| run.join(name)).filter(|path| path.is_file()) else {
            return Ok(None);
        };
        let bytes =
            capped::read(&path, MOST_BYTES).map_err(|source| Failure::read(&path, source))?;
        let read = serde_json::from_slice(&bytes);
        Ok(Some(read.map_err(|error| Failure::file(&path, format!("is damaged ({error})")))?))
    }

    /// The base on the Hub, if it is there.
    fn hub_base(&self) -> Option<&str> {
        let base = self.model.published.as_deref()?;
        let id = base.split('@').next().unwrap_or(base);
        let is_word = |word: &str| text::is_word(word, "-_.", 96);
        let (organization, name) = id.split_once('/')?;
        (is_word(organization) && is_word(name) && !Path::new(base).exists()).then_some(id)
    }

    fn front_matter(&self) -> String {
        let library = if self.merged { "transformers" } else { "peft" };
        let mut lines = vec!["---".to_owned(), format!("library_name: {library}")];
        lines.push("pipeline_tag: text-generation".into());
        let mut tags = vec!["host".to_owned(), "lora".into()];
        if let Some(base) = self.hub_base() {
            let relation = if self.merged { "finetune" } else { "adapter" };
            lines.push(format!("base_model: {}", yaml(base)));
            lines.push(format!("base_model_relation: {relation}"));
            tags.push(format!("base_model:{relation}:{base}"));
        }
        lines.push("tags:".into());
        lines.extend(tags.iter().map(|tag| format!("- {}", yaml(tag))));
        if !self.datasets.is_empty() {
            lines.push("datasets:".into());
            lines.extend(self.datasets.iter().map(|id| format!("- {}", yaml(id))));
        }
        lines.push("---\n\n".into());
        lines.join("\n")
    }

    fn title(&self, manifest: Option<&Manifest>) -> String {
        let base = escape(self.model.base());
        let what = match (self.merged, self.adapter) {
            (true, Some(_)) => format!("{base}, with a LoRA adapter merged into it"),
            (true, None) => base,
            (false, _) => format!("LoRA adapter for {base}"),
        };
        let by = manifest.map_or_else(String::new, |manifest| {
            let policies: Vec<String> =
                manifest.policies.iter().map(|one| escape(&one.name)).collect();
            let under = match policies.as_slice() {
                [] => "without a policy".to_owned(),
                [one] => format!("under the policy {one}"),
                several => format!("under the policies {}", several.join(", ")),
            };
            format!(
                " Trained with host {} {under}; the run {}.",
                escape(&manifest.host),
                escape(&manifest.status)
            )
        });
        let digest = &self.model.digest;
        format!("# {what}\n\nThe base has SHA-256 `{digest}` over its files.{by}\n\n")
    }

    fn training(&self, report: Option<&Report>) -> Result<String> {
        let Some(adapter) = self.adapter else { return Ok(String::new()) };
        let shape = adapter.shape();
        let mut targets: Vec<&str> = shape.adapted().map(|(_, target, _)| target.name()).collect();
        targets.sort_unstable();
        targets.dedup();
        let root = if shape.rank_stabilized { "sqrt(rank)" } else { "rank" };
        let mut rows = vec![
            ("rank", span(shape.adapted().map(|(.., place)| place.rank as f64))),
            ("alpha", span(shape.adapted().map(|(.., place)| place.alpha))),
            ("scaling", format!("alpha / {root}")),
            ("matrices", targets.join(", ")),
        ];
        if self.run.is_some() {
            let train = &self.config.train;
            rows.push(("samples of a step", train.batch.to_string()));
            rows.push(("highest learning rate", train.learning_rate.to_string()));
            rows.push(("seed", self.config.seed.0.to_string()));
        }
        if let Some(trained) = report.and_then(|report| report.trained.as_ref()) {
            let totals = &trained.totals;
            rows.push(("optimizer steps", format!("{} of {}", totals.steps, trained.total)));
            if let Some(kept) = totals.evaluations.as_ref().and_then(|all| all.kept.as_ref()) {
                rows.push(("adapter of step", format!("{}: {}", kept.step, kept.why)));
            }
            rows.push(("steps skipped by policies", totals.skipped.to_string()));
            rows.push(("steps not applied", totals.not_applied.to_string()));
            rows.push(("seconds", format!("{:.0}", totals.seconds)));
        }
        if let Some((first, last)) = self.losses()? {
            rows.push(("loss of the first step", format!("{first:.3}")));
            rows.push(("loss of the last step", format!("{last:.3}")));
        }
        let rows: Vec<[String; 2]> =
            rows.into_iter().map(|(name, value)| [name.to_owned(), escape(&value)]).collect();
        Ok(format!("## Training\n\n{}\n", table(["", "value"], &rows)))
    }

    fn losses(&self) -> Result<Option<(f64, f64)>> {
        let Some(path) = self.run.map(|run| run.join("metrics.jsonl")).filter(|it| it.is_file())
        else {
            return Ok(None);
        };
        let metrics = capped::read_text(&path, MOST_METRICS)
            .map_err(|source| Failure::read(&path, source))?;
        let loss = |line: Option<&str>| {
            serde_json::from_str::<Value>(line?).ok()?.get("task_loss")?.as_f64()
        };
        let (mut lines, mut ends) = (metrics.lines(), metrics.lines().rev());
        Ok(loss(lines.next()).zip(loss(ends.next())))
    }

    /// vLLM takes a power of two as its largest rank; stacked modules have the ranks of their parts.
    fn vllm_rank(&self) -> usize {
        let parts = self.model.config.family.modules().iter().map(|module| module.parts.len());
        let rank = self
            .adapter
            .and_then(|it| it.shape().adapted().map(|(.., place)| place.rank).max())
            .unwrap_or(16);
        (rank * parts.max().unwrap_or(1)).next_power_of_two().max(8)
    }

    /// How each of the programs that read it is told to.
    fn use_of_it(&self) -> String {
        let base = escape(self.model.base().split('@').next().unwrap_or_default());
        let mut page = String::from("## Use\n\n");
        if self.merged {
            page += "| program | |\n|---|---|\n\
                | transformers | `AutoModelForCausalLM.from_pretrained(\"FOLDER\")` |\n\
                | vLLM | `vllm serve FOLDER` |\n\
                | host | `host generate --model FOLDER \"PROMPT\"` |\n\
                | llama.cpp, Ollama | `host export --model FOLDER --gguf model.gguf`, then `llama-cli -m model.gguf` or `ollama create NAME -f model.Modelfile` |\n";
        } else if self.adapter.is_some_and(|adapter| adapter.shape().magnitudes) {
            // Nobody else loads magnitudes.
            page += "| program | |\n|---|---|\n\
                | peft | `AutoPeftModelForCausalLM.from_pretrained(\"FOLDER\")` |\n\
                | host | `host generate --model BASE --adapter FOLDER \"PROMPT\"` |\n\
                | vLLM | `host export --model BASE --adapter FOLDER --merged --output MERGED`, then `vllm serve MERGED` |\n\
                | llama.cpp, Ollama | `host export --model BASE --adapter FOLDER --gguf model.gguf`, then `llama-cli -m model.gguf` or `ollama create NAME -f model.Modelfile` |\n";
            page += &format!("\nBASE is {base}. The adapter means something on no other model.\n");
        } else {
            page += "| program | |\n|---|---|\n\
                | peft | `AutoPeftModelForCausalLM.from_pretrained(\"FOLDER\")` |\n\
                | vLLM | `vllm serve BASE --enable-lora --max-lora-rank RANK --lora-modules NAME=FOLDER` |\n\
                | host | `host generate --model BASE --adapter FOLDER \"PROMPT\"` |\n\
                | llama.cpp, Ollama | `host export --model BASE --adapter FOLDER --gguf-adapter adapter.gguf`, then `llama-cli -m BASE.gguf --lora adapter.gguf` or `ollama create NAME -f adapter.Modelfile` |\n";
            page += &format!(
                "\nBASE is {base}, RANK {}. The adapter means something on no other model.\n",
                self.vllm_rank()
            );
        }
        page + "\nThe chat template that was trained with is in the folder; another one makes another model of it.\n"
    }
}

/// One number, or the least and the largest of several.
fn span(numbers: impl Iterator<Item = f64>) -> String {
    let numbers: Vec<f64> = numbers.collect();
    let least = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if least < largest { format!("{least} to {largest}") } else { least.to_string() }
}

fn data(manifest: &Manifest) -> String {
    // Paths are of the machine that trained.
    let name = |file: &str| {
        let name = Path::new(file).file_name().map(|name| name.to_string_lossy().into_owned());
        escape(&name.unwrap_or_else(|| file.to_owned()))
    };
    let rows: Vec<[String; 2]> = manifest
        .data
        .iter()
        .map(|one| [name(&one.file), one.sha256.as_deref().map_or("-".to_owned(), escape)])
        .collect();
    format!(
        "## Data\n\n{} samples, of these files:\n\n{}\n",
        manifest.samples,
        table(["file", "SHA-256"], &rows)
    )
}

fn policies(manifest: &Manifest) -> String {
    if manifest.policies.is_empty() {
        return String::new();
    }
    let rows: Vec<[String; 2]> = manifest
        .policies
        .iter()
        .flat_map(|one| {
            let name = escape(&format!("{} {}", one.name, one.version));
            let settings = text::brief(&one.settings.to_string(), LONGEST);
            let parameters = one.parameters_sha256.as_deref().unwrap_or("none");
            [
                [name, format!("SHA-256 {}", escape(&one.sha256))],
                ["settings".to_owned(), escape(&settings)],
                ["SHA-256 of what it fitted".to_owned(), escape(parameters)],
            ]
        })
        .collect();
    format!("## Policy\n\n{}\n", table(["policy", ""], &rows))
}

/// What was measured, with 95% intervals, or that nothing was.
fn safety(report: Option<&Report>) -> String {
    let Some(report) = report.filter(|report| report.after.is_some()) else {
        return "## Safety\n\nNothing was measured. That a policy was in force is no measurement.\n\n"
            .to_owned();
    };
    let warnings: Vec<String> =
        report.warnings().iter().map(|line| format!("{}\n\n", escape(line))).collect();
    format!(
        "## Safety\n\nShare, 95% interval, count. Refusals say nothing of requests that weren't asked.\n\n{}\n\n{}",
        report.markdown(),
        warnings.concat()
    )
}

fn table(header: [&str; 2], rows: &[[String; 2]]) -> String {
    let row = |[left, right]: &[String; 2]| format!("| {left} | {right} |\n");
    let rows: Vec<String> = rows.iter().map(row).collect();
    format!("| {} | {} |\n|---|---|\n{}", header[0], header[1], rows.concat())
}

/// A text between quotation marks: JSON's, which is YAML's.
fn yaml(foreign: &str) -> String {
    text::json(&Value::from(foreign).to_string()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_the_front_matter_stays_one_value() {
        let value = yaml("a: b\n---\n# \"c\" \u{202e}");
        assert_eq!(value, r#""a: b\n---\n# \"c\" \u202e""#);
    }

    #[test]
    fn ranks_that_differ_are_a_span() {
        assert_eq!(span([8.0, 8.0].into_iter()), "8");
        assert_eq!(span([8.0, 4.0, 16.5].into_iter()), "4 to 16.5");
    }

    #[test]
    fn a_name_of_the_tables_stays_one_cell() {
        let rows = [["x | y".to_owned(), "<b>".to_owned()].map(|cell| escape(&cell))];
        let shown = table(["file", "SHA-256"], &rows);
        assert_eq!(shown.lines().last(), Some("| x \\| y | &lt;b&gt; |"));
    }
}
