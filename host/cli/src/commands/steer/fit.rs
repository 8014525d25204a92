use host_files::shell;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use host_data::{Progress as _, Reader};
use host_files::Page;
use host_model::steering::Origin;
use host_model::{Model, Steering};
use host_trainer::Error;
use host_trainer::calibration::{LabelledPrompt, load_prompts};
use host_trainer::config::RunConfig;
use host_trainer::records::Ending;
use host_trainer::report::Table;
use host_trainer::steering::{checked, fit as fitting, instructed_on, sides};
use serde::Serialize;

use crate::flags::{ConfigFlags, DataFlags, FitFlags, FlagGroup as _, with_defaults};
use crate::out::{print_json, print_page, say, stdout_width};
use crate::screen::Screen;

/// Fit a vector on a model's activations at the last prompt token.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub config: ConfigFlags,
    #[command(flatten)]
    pub data: DataFlags,
    /// What the vector is the difference of.
    #[arg(long, value_enum, default_value_t = VectorKind::Difference)]
    pub kind: VectorKind,
    #[command(flatten)]
    pub fit: FitFlags,
    /// Where to write the vector.
    #[arg(short, long, value_name = "FILE", default_value = "vector.safetensors")]
    pub output: PathBuf,
}

/// What a vector is the difference of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VectorKind {
    /// Mean activation of --positive minus that of --negative.
    Difference,
    /// Mean change when the safety instruction is added to --prompts.
    SafetyInstruction,
    /// Mean activation of harmful prompts minus that of harmless ones, of --labelled.
    RefusalDirection,
}

/// The vector at one layer.
#[derive(Serialize)]
struct Fitted {
    layer: usize,
    norm: f64,
    /// With the refusal direction; absent without labelled prompts.
    cosine: Option<f64>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let mut layers = arguments.config.layers(None)?;
    arguments.data.apply(&mut layers)?;
    arguments.fit.apply(&mut layers)?;
    let config = with_defaults(layers)?;
    let reader = config.reader();
    let labelled = if config.calibration.data.is_empty() {
        Vec::new()
    } else {
        load_prompts(&config.calibration, &reader)?
    };
    lacking(arguments.kind, &config)?;
    let mut screen = Screen::new(arguments.config.quiet);
    let model = host_data::load_model(&config.model, &mut screen)?;
    reader.check(labelled.iter().map(|one| &one.prompt), &model)?;
    let layers = if config.steering.layers.is_empty() {
        (1..=model.config.num_layers as u32).collect()
    } else {
        config.steering.layers.clone()
    };
    let vector = vector(arguments.kind, &config, &reader, &labelled, &layers, &model, &mut screen)?;
    reader.notices().lines().for_each(|line| screen.notice(&line));
    let cosines = if labelled.is_empty() {
        None
    } else {
        let refusal = fitting::refusal_direction(&model, &layers, &labelled, &mut screen)?;
        Some(vector.cosines(&refusal).map_err(Error::from)?)
    };
    let origin = Origin {
        model: Some(model.digest.clone()),
        about: Some(format!("{:?} on {}", arguments.kind, model.name).to_lowercase()),
    };
    vector.save(&arguments.output, &origin).map_err(Error::from)?;
    drop(screen);
    let fitted = fitted(&vector, cosines.as_deref());
    if arguments.config.json {
        print_json(&fitted)?;
    } else {
        print_page(&table(&fitted, stdout_width()))?;
        say(format!(
            "wrote {}; see what it does with host steer eval --vector {}",
            arguments.output.display(),
            shell::path(&arguments.output)
        ));
    }
    Ok(Ending::Finished)
}

/// Prompts that the kind needs and the configuration doesn't name.
fn lacking(kind: VectorKind, config: &RunConfig) -> Result<(), Error> {
    let steering = &config.steering;
    let problem = match kind {
        VectorKind::Difference if steering.positive.is_empty() => {
            ("steering.positive", "names no prompts; give --positive FILE")
        }
        VectorKind::Difference if steering.negative.is_empty() => {
            ("steering.negative", "names no prompts; give --negative FILE")
        }
        VectorKind::RefusalDirection if config.calibration.data.is_empty() => {
            ("calibration.data", "names no labelled prompts; give --labelled FILE")
        }
        VectorKind::SafetyInstruction
            if steering.prompts.is_empty() && config.calibration.data.is_empty() =>
        {
            ("steering.prompts", "names no prompts; give --prompts FILE")
        }
        _ => return Ok(()),
    };
    Err(Error::config(problem.0, problem.1))
}

fn vector(
    kind: VectorKind,
    config: &RunConfig,
    reader: &Reader,
    labelled: &[LabelledPrompt],
    layers: &[u32],
    model: &Model,
    screen: &mut Screen,
) -> Result<Steering, Error> {
    let steering = &config.steering;
    match kind {
        VectorKind::Difference => {
            let [positive, negative] = sides(steering, reader, model)?;
            let [positive, negative] =
                [&positive, &negative].map(|side| side.iter().collect::<Vec<_>>());
            fitting::difference(model, layers, &positive, &negative, screen)
        }
        VectorKind::SafetyInstruction => {
            let own = checked(&steering.prompts, reader, model)?;
            let prompts = instructed_on(&own, labelled);
            fitting::safety_instruction(model, layers, &prompts, &steering.instruction, screen)
        }
        VectorKind::RefusalDirection => fitting::refusal_direction(model, layers, labelled, screen),
    }
}

fn fitted(vector: &Steering, cosines: Option<&[f64]>) -> Vec<Fitted> {
    let layers = vector.vectors().iter().enumerate();
    let layers = layers.map(|(index, (layer, values))| Fitted {
        layer: *layer,
        norm: values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt(),
        cosine: cosines.map(|cosines| cosines[index]),
    });
    layers.collect()
}

fn table(fitted: &[Fitted], width: Option<usize>) -> Page {
    let mut table = Table::plain();
    table.header(["layer", "norm", "cosine with the refusal direction"]);
    for one in fitted {
        let cosine = one.cosine.map_or_else(|| "-".into(), |cosine| format!("{cosine:+.3}"));
        table.row([one.layer.to_string(), format!("{:.3}", one.norm), cosine]);
    }
    table.page(width)
}
