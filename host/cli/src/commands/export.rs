use std::path::PathBuf;

use candle_core::DType;
use clap::Args;
use host_trainer::Error;
use host_trainer::records::Ending;

use crate::commands::adapter::AdapterFlags;
use crate::flags::{ConfigFlags, with_defaults};
use crate::out::say;
use crate::screen::Screen;

/// Write an adapter, or the model with the adapter merged into it.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub config: ConfigFlags,
    #[command(flatten)]
    pub adapter: AdapterFlags,
    /// Merge the adapter into the weights and write a whole model.
    #[arg(long)]
    pub merged: bool,
    /// Number format of the merged weights.
    #[arg(long, value_enum, default_value_t = WeightType::F32, requires = "merged")]
    pub dtype: WeightType,
    /// Folder to write; must not exist.
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
}

/// Number formats that a merged model can be written in.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum WeightType {
    F32,
    F16,
    Bf16,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    if arguments.output.exists() {
        return Err(Error::OutputExists { path: arguments.output.clone() }.into());
    }
    let config = with_defaults(arguments.config.layers(arguments.adapter.run.as_deref())?)?;
    let mut screen = Screen::new(arguments.config.quiet);
    let model = host_data::load_model(&config.model, &mut screen)?;
    let adapter = arguments.adapter.load(&model, &mut screen)?;
    match (arguments.merged, &adapter) {
        (true, adapter) => {
            let dtype = match arguments.dtype {
                WeightType::F32 => DType::F32,
                WeightType::F16 => DType::F16,
                WeightType::Bf16 => DType::BF16,
            };
            host_model::export::merge(&model, adapter.as_ref(), &arguments.output, dtype)
                .map_err(Error::from)?;
        }
        (false, Some(adapter)) => {
            adapter
                .save_peft(&arguments.output, &model.config, &model.name)
                .map_err(Error::from)?;
        }
        (false, None) => {
            return Err(Error::config(
                "--adapter",
                "nothing to export; give --run DIR or --adapter DIR, or --merged",
            )
            .into());
        }
    }
    drop(screen);
    say(format!("wrote {}", arguments.output.display()));
    Ok(Ending::Finished)
}
