use std::path::{Path, PathBuf};

use candle_core::DType;
use clap::{ArgGroup, Args};
use host_files::atomic;
use host_model::export::gguf::{GgufExport, GgufType};
use host_model::export::modelfile::{self, Weights};
use host_model::load::hub::push::{self, Pushed};
use host_model::load::hub_id;
use host_model::{HubAccess, Lora, Model, Source, export};
use host_trainer::Error;
use host_trainer::card::Card;
use host_trainer::config::RunConfig;
use host_trainer::data::{ModelConfig, Progress as _};
use host_trainer::records::Ending;
use host_trainer::records::run_dir::RunDir;
use serde::Serialize;

use crate::commands::adapter::AdapterFlags;
use crate::flags::{BaseFlags, ConfigFlags, FlagGroup as _, with_defaults};
use crate::out::{print_json, print_line, say};
use crate::screen::Screen;

/// Write an adapter, or the model with the adapter merged into it, for other programs.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("written").required(true).multiple(true).args(["output", "gguf", "gguf_adapter", "exported"])))]
pub struct Arguments {
    #[command(flatten)]
    pub config: ConfigFlags,
    #[command(flatten)]
    pub adapter: AdapterFlags,
    #[command(flatten)]
    pub base: BaseFlags,
    /// Folder to write, for peft, vLLM and transformers: the adapter with the tokenizer and a
    /// model card; must not exist.
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Merge the adapter into the weights and write a whole model into --output.
    #[arg(long, requires = "output")]
    pub merged: bool,
    /// Number format of the merged weights.
    #[arg(long, value_enum, default_value_t = WeightType::F32, requires = "merged")]
    pub dtype: WeightType,
    /// GGUF file to write, for llama.cpp and Ollama: the whole model, the adapter merged into
    /// it. A Modelfile is written beside it.
    #[arg(long, value_name = "FILE")]
    pub gguf: Option<PathBuf>,
    /// Number format of the matrices of --gguf; what doesn't divide into its blocks is written
    /// in q8_0 or f16.
    #[arg(long, value_enum, default_value_t = Quantization::F16, requires = "gguf")]
    pub quantize: Quantization,
    /// GGUF file to write: the adapter alone, for a base that is a GGUF file. A Modelfile is
    /// written beside it.
    #[arg(long, value_name = "FILE")]
    pub gguf_adapter: Option<PathBuf>,
    /// Data set of the Hub that the model card names. Can be repeated.
    #[arg(long = "dataset", value_name = "ORG/NAME", requires = "output", value_parser = repository)]
    pub datasets: Vec<String>,
    /// Send all that was written to this repository of the Hub, in one commit. It is made if
    /// there is none. HF_TOKEN must be allowed to write.
    #[arg(long, value_name = "ORG/NAME", value_parser = repository)]
    pub push: Option<String>,
    /// Everybody may see a repository that --push makes; without it only you.
    #[arg(long, requires = "push")]
    pub public: bool,
    /// Folder or file that an earlier export wrote, to push it as it is. Can be repeated.
    #[arg(long, value_name = "PATH", requires = "push", conflicts_with_all = NOT_WITH_EXPORTED)]
    pub exported: Vec<PathBuf>,
}

/// Flags that say what is written, which is there already.
const NOT_WITH_EXPORTED: [&str; 14] = [
    "adapter",
    "allowed_endpoints",
    "assignments",
    "base_name",
    "chat_template",
    "config",
    "device",
    "gguf",
    "gguf_adapter",
    "model",
    "model_adapter",
    "output",
    "run",
    "weights",
];

/// What an export has made.
#[derive(Debug, Serialize)]
struct Made<'a> {
    /// Files and folders.
    files: &'a [PathBuf],
    #[serde(skip_serializing_if = "Option::is_none")]
    pushed: Option<Pushed>,
}

/// Number formats that a merged model can be written in.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum WeightType {
    F32,
    F16,
    Bf16,
}

/// Number formats of a GGUF file.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Quantization {
    F32,
    F16,
    Bf16,
    #[value(name = "q8_0")]
    Q8,
    #[value(name = "q6_k")]
    Q6,
    #[value(name = "q5_k")]
    Q5,
    #[value(name = "q4_k")]
    Q4,
}

impl From<Quantization> for GgufType {
    fn from(quantization: Quantization) -> Self {
        match quantization {
            Quantization::F32 => Self::F32,
            Quantization::F16 => Self::F16,
            Quantization::Bf16 => Self::Bf16,
            Quantization::Q8 => Self::Q8_0,
            Quantization::Q6 => Self::Q6K,
            Quantization::Q5 => Self::Q5K,
            Quantization::Q4 => Self::Q4K,
        }
    }
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let hub = HubAccess::from_env();
    if let Some(id) = &arguments.push {
        push::check(id, &hub).map_err(Error::from)?;
    }
    if !arguments.exported.is_empty() {
        return arguments.end(&arguments.exported, &hub);
    }
    let export = Export::prepare(arguments)?;
    let mut screen = Screen::new(arguments.config.quiet);
    let model = host_data::load_model(&export.config.model, &mut screen)?;
    let adapter = arguments.adapter.load(&model, &mut screen)?;
    let mut tell = |notice: &str| screen.notice(notice);
    export.check(&model, adapter.as_ref(), &mut tell)?;
    let mut written = Vec::new();
    let ended = export.write(&model, adapter.as_ref(), &mut tell, &mut written);
    drop(screen);
    // What was written before a failure is whole.
    for path in &written {
        say(format!("wrote {}", path.display()));
    }
    ended?;
    arguments.end(&written, &hub)
}

impl Arguments {
    /// Pushes, if that is asked for, and prints what was made.
    fn end(&self, files: &[PathBuf], hub: &HubAccess) -> anyhow::Result<Ending> {
        let pushed = self.push.as_ref().map(|id| self.send(id, files, hub)).transpose()?;
        if self.config.json {
            print_json(&Made { files, pushed })?;
        } else if let Some(pushed) = pushed {
            print_line(&pushed.url)?;
        }
        Ok(Ending::Finished)
    }

    fn send(&self, id: &str, files: &[PathBuf], hub: &HubAccess) -> Result<Pushed, Error> {
        let files = push::files(files)?;
        for file in &files {
            say(format!("sending {} ({} bytes) to {id}", file.name, file.size));
        }
        Ok(push::push(id, &files, self.public, hub)?)
    }
}

struct Export<'a> {
    arguments: &'a Arguments,
    config: RunConfig,
    /// The GGUF file that the model comes from, if it does.
    source: Option<PathBuf>,
}

impl<'a> Export<'a> {
    /// Refuses what is there already before anything is loaded.
    fn prepare(arguments: &'a Arguments) -> Result<Self, Error> {
        let mut layers = arguments.config.layers(arguments.adapter.run.as_deref())?;
        arguments.base.apply(&mut layers)?;
        let config = with_defaults(layers)?;
        let files = [&arguments.gguf, &arguments.gguf_adapter].into_iter().flatten();
        let with_modelfile = files.flat_map(|file| [file.clone(), beside(file)]);
        if let Some(output) = &arguments.output {
            RunDir::check_free(output)?;
        }
        let mut named: Vec<PathBuf> = with_modelfile.collect();
        if let Some(path) = named.iter().find(|path| path.exists()) {
            return Err(host_files::Error::Exists { path: path.clone() }.into());
        }
        named.extend(arguments.output.clone());
        named.sort();
        if let Some(twice) = named.windows(2).find(|pair| pair[0] == pair[1]) {
            let problem =
                format!("{} would be written twice; name another file", twice[0].display());
            return Err(Error::config("--gguf-adapter", problem));
        }
        let source = match &config.model.source {
            Some(source) => match Source::parse(source).map_err(Error::from)? {
                Source::Gguf(path) => Some(path),
                _ => None,
            },
            None => None,
        };
        Ok(Self { arguments, config, source })
    }

    /// What can't be written, and what a reader won't find.
    fn check(
        &self,
        model: &Model,
        adapter: Option<&Lora>,
        tell: &mut dyn FnMut(&str),
    ) -> Result<(), Error> {
        let Arguments { output, merged, gguf_adapter, .. } = self.arguments;
        let alone =
            [(output.is_some() && !merged, "--output"), (gguf_adapter.is_some(), "--gguf-adapter")];
        if let (None, Some((_, flag))) = (adapter, alone.iter().find(|(is_asked, _)| *is_asked)) {
            let problem = format!(
                "there is no adapter for {flag}; give --run DIR or --adapter DIR, or export the model with --merged or --gguf"
            );
            return Err(Error::config("--adapter", problem));
        }
        if let (Some(_), Some(adapter)) = (gguf_adapter, adapter) {
            self.gguf(model).check_adapter(adapter)?;
        }
        if output.is_some() && !merged && adapter.is_some_and(|it| it.shape().magnitudes) {
            tell(
                "vLLM and llama.cpp load no adapters with magnitudes (DoRA); --merged and --gguf FILE write the model for \
                 them",
            );
        }
        if self.arguments.gguf.is_some() {
            self.gguf(model).check()?;
        }
        if output.is_some() && !merged && model.published.is_none() {
            tell(&format!(
                "the adapter names its base {:?}, by which peft and vLLM find no model: --base-name ORG/NAME gives the \
                 name under which the base is on the Hub",
                model.name
            ));
        }
        let steering =
            self.arguments.adapter.run.as_ref().map(|run| run.join("steering.safetensors"));
        if let Some(path) = steering.filter(|path| path.is_file()) {
            tell(&format!(
                "{}: the policies of the run left a steering vector, which no exported file carries: without it the \
                 model isn't the one that was measured (host generate --vector adds it)",
                path.display()
            ));
        }
        Ok(())
    }

    fn gguf<'m>(&'m self, model: &'m Model) -> GgufExport<'m> {
        let base = model.published.as_deref();
        GgufExport { model, source: self.source.as_deref(), base }
    }

    fn write(
        &self,
        model: &Model,
        adapter: Option<&Lora>,
        tell: &mut dyn FnMut(&str),
        written: &mut Vec<PathBuf>,
    ) -> Result<(), Error> {
        let Arguments { output, gguf, gguf_adapter, .. } = self.arguments;
        if let Some(output) = output {
            self.write_folder(output, model, adapter)?;
            written.push(output.clone());
        }
        if let Some(path) = gguf {
            let kind = self.arguments.quantize.into();
            let notices = self.gguf(model).merged(adapter, kind, path)?;
            notices.iter().for_each(|notice| tell(notice));
            written.push(path.clone());
            let weights = Weights { from: &local(path), adapter: None, remark: None };
            written.push(write_modelfile(path, weights, model)?);
        }
        if let (Some(path), Some(adapter)) = (gguf_adapter, adapter) {
            self.gguf(model).adapter(adapter, path)?;
            written.push(path.clone());
            written.push(self.write_modelfile_of_adapter(path, model)?);
        }
        Ok(())
    }

    fn write_folder(
        &self,
        output: &Path,
        model: &Model,
        adapter: Option<&Lora>,
    ) -> Result<(), Error> {
        let Arguments { merged, dtype, datasets, .. } = self.arguments;
        let run = self
            .arguments
            .adapter
            .run
            .as_deref()
            .filter(|_| self.arguments.adapter.adapter.is_none());
        let config = &self.config;
        let card = Card { model, adapter, merged: *merged, run, config, datasets }.text()?;
        let card = [("README.md", card.as_bytes())];
        match adapter {
            Some(adapter) if !merged => export::adapter(model, adapter, output, &card)?,
            _ => {
                let dtype = match dtype {
                    WeightType::F32 => DType::F32,
                    WeightType::F16 => DType::F16,
                    WeightType::Bf16 => DType::BF16,
                };
                export::merge_with(model, adapter, output, dtype, &card)?;
            }
        }
        Ok(())
    }

    fn write_modelfile_of_adapter(&self, path: &Path, model: &Model) -> Result<PathBuf, Error> {
        // With an adapter in it the base is another model than its file.
        let ModelConfig { source: name, adapter: part, .. } = &self.config.model;
        let source = self.source.as_ref().filter(|_| part.is_none());
        let from = source.map_or_else(
            || format!("./{}.gguf", model.name.replace(".gguf", "").replace('/', "-")),
            |source| local(source),
        );
        let flag = |flag: &str, value: Option<String>| {
            value.map_or_else(String::new, |value| format!("{flag} {value} "))
        };
        // Paths of this machine stay here: what is written may go elsewhere.
        let remark = match source {
            Some(source) if source.parent() == path.parent() => None,
            Some(_) => Some("Put the base beside this file.".to_owned()),
            None => Some(format!(
                "The base as GGUF is made by: host export {}{}--gguf {}",
                flag("--model", name.as_deref().map(file_name)),
                flag(
                    "--model-adapter",
                    part.as_deref().map(|part| file_name(&part.display().to_string()))
                ),
                from.trim_start_matches("./")
            )),
        };
        let weights =
            Weights { from: &from, adapter: Some(&local(path)), remark: remark.as_deref() };
        write_modelfile(path, weights, model)
    }
}

/// `model.gguf` -> `model.Modelfile`
fn beside(path: &Path) -> PathBuf {
    path.with_extension("Modelfile")
}

/// A Hub id as it is, of a path the last part.
fn file_name(model: &str) -> String {
    let path = Path::new(model);
    match path.file_name() {
        Some(name) if path.exists() => name.to_string_lossy().into_owned(),
        _ => model.to_owned(),
    }
}

/// A file in the folder of the Modelfile.
fn local(path: &Path) -> String {
    format!("./{}", path.file_name().unwrap_or_default().to_string_lossy())
}

fn write_modelfile(path: &Path, weights: Weights<'_>, model: &Model) -> Result<PathBuf, Error> {
    let path = beside(path);
    atomic::write(&path, modelfile::text(weights, &model.tokenizer).as_bytes())?;
    Ok(path)
}

fn repository(id: &str) -> Result<String, String> {
    match hub_id(id) {
        Some((id, None)) => Ok(id.to_owned()),
        _ => Err("is no id of the Hub; write ORG/NAME".into()),
    }
}
