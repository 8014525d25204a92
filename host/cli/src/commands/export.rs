use candle_core::DType;
use host_trainer::records::Ending;
use host_trainer::{Error, prepare};

use crate::arguments::{ExportArguments, WeightType, with_defaults};
use crate::screen::Screen;

pub fn export(arguments: Box<ExportArguments>) -> anyhow::Result<Ending> {
    if arguments.output.exists() {
        return Err(Error::OutputExists { path: arguments.output }.into());
    }
    let config = with_defaults(arguments.config.layers(Some(&arguments.adapter))?)?;
    let mut screen = Screen::new(arguments.config.quiet);
    let model = prepare::load_model(&config.model, &mut screen)?;
    let adapter = arguments.adapter.load(&model)?;
    match (arguments.merged, &adapter) {
        (true, adapter) => {
            let dtype = match arguments.dtype {
                WeightType::F32 => DType::F32,
                WeightType::F16 => DType::F16,
                WeightType::Bf16 => DType::BF16,
            };
            host_model::export::merge(&model, adapter.as_ref(), &arguments.output, dtype)
                .map_err(Error::from)?
        }
        (false, Some(adapter)) => {
            adapter.save_peft(&arguments.output, &model.config, &model.name).map_err(Error::from)?
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
    eprintln!("wrote {}", arguments.output.display());
    Ok(Ending::Finished)
}
