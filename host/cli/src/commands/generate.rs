use std::io::BufRead;

use clap::Args;
use host_model::decoder::Overlay;
use host_model::{Answering, GenerateOptions, Message};
use host_trainer::Error;
use host_trainer::records::Ending;
use serde::Serialize;

use crate::commands::adapter::AdapterFlags;
use crate::commands::vector::VectorFlags;
use crate::flags::{ConfigFlags, with_defaults};
use crate::out::{print_block, print_json_text};
use crate::screen::Screen;

/// Answer prompts with a model and, if given, an adapter.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub config: ConfigFlags,
    #[command(flatten)]
    pub adapter: AdapterFlags,
    /// Prompt; can be repeated. Without one, each line of stdin is a prompt.
    pub prompts: Vec<String>,
    #[command(flatten)]
    pub vector: VectorFlags,
    /// System message.
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Longest answer, in tokens.
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub max_new_tokens: usize,
    /// 0 always takes the likeliest token.
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    pub temperature: f64,
    /// Sample among the likeliest tokens that together have this probability.
    #[arg(long, value_name = "X")]
    pub top_p: Option<f64>,
    /// Sample among this many likeliest tokens.
    #[arg(long, value_name = "N")]
    pub top_k: Option<usize>,
}

#[derive(Serialize)]
struct Answer<'a> {
    prompt: &'a str,
    /// What the model thought first, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    thought: Option<&'a str>,
    answer: &'a str,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let config = with_defaults(arguments.config.layers(arguments.adapter.run.as_deref())?)?;
    let prompts = prompts(arguments)?;
    let mut screen = Screen::new(arguments.config.quiet);
    let model = host_data::load_model(&config.model, &mut screen)?;
    let adapter = arguments.adapter.load(&model, &mut screen)?;
    let steering = arguments.vector.load(&model)?;
    let applied = Overlay { adapter: adapter.as_ref(), steering: steering.as_ref() };
    let options = GenerateOptions {
        max_new_tokens: arguments.max_new_tokens,
        temperature: arguments.temperature,
        top_p: arguments.top_p,
        top_k: arguments.top_k,
        seed: config.seed.0,
        ..GenerateOptions::default()
    };
    let system = arguments.system.iter().map(|content| Message::new("system", content));
    let encode = |prompt: &String| {
        let user = Message::user(prompt);
        let messages: Vec<Message> = system.clone().chain([user]).collect();
        Ok(model.tokenizer.encode_prompt(&messages)?)
    };
    let encoded = prompts.iter().map(encode).collect::<Result<Vec<_>, Error>>()?;
    let answering = Answering {
        decoder: &model.decoder,
        tokenizer: &model.tokenizer,
        overlay: applied,
        options: &options,
        max_thinking_tokens: config.eval.max_thinking_tokens,
    };
    drop(screen);
    for (prompts, batch) in prompts.chunks(config.eval.batch).zip(encoded.chunks(config.eval.batch))
    {
        for (prompt, answered) in prompts.iter().zip(answering.answer(batch).map_err(Error::from)?)
        {
            let (thought, answer) = (answered.spoken.thought.as_deref(), &answered.spoken.answer);
            if arguments.config.json {
                print_json_text(&serde_json::to_string(&Answer { prompt, thought, answer })?)?;
                continue;
            }
            if let Some(thought) = thought {
                print_block(&format!("(thought) {thought}\n"))?;
            }
            print_block(answer)?;
        }
    }
    Ok(Ending::Finished)
}

fn prompts(arguments: &Arguments) -> anyhow::Result<Vec<String>> {
    if !arguments.prompts.is_empty() {
        return Ok(arguments.prompts.clone());
    }
    let lines: Vec<String> = std::io::stdin().lock().lines().collect::<Result<_, _>>()?;
    let prompts: Vec<String> = lines.into_iter().filter(|line| !line.trim().is_empty()).collect();
    if prompts.is_empty() {
        return Err(Error::config(
            "PROMPTS",
            "stdin is empty; give a prompt as an argument or on stdin",
        )
        .into());
    }
    Ok(prompts)
}
