use std::io::BufRead as _;

use clap::Args;
use host_model::decoder::Overlay;
use host_model::{Answered, Answering, GenerateOptions, Message, Model, Spoken};
use host_trainer::Error;
use host_trainer::records::Ending;
use serde::Serialize;

use crate::commands::adapter::AdapterFlags;
use crate::commands::vector::VectorFlags;
use crate::flags::{ConfigFlags, with_defaults};
use crate::out::{Growing, is_on_terminal, print_block, print_json_text};
use crate::screen::Screen;

/// Answer prompts with a model and, if given, an adapter. On a terminal each answer appears while
/// it is generated.
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
    let mut prompts = prompts(arguments).peekable();
    // Before a model is loaded for nothing.
    if prompts.peek().is_none() {
        let problem = "stdin is empty; give a prompt as an argument or on stdin";
        return Err(Error::config("PROMPTS", problem).into());
    }
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
    let answering = Answering {
        decoder: &model.decoder,
        tokenizer: &model.tokenizer,
        overlay: applied,
        options: &options,
        max_thinking_tokens: config.eval.max_thinking_tokens,
    };
    drop(screen);
    // A person reads one answer at a time.
    if is_on_terminal() && !arguments.config.json {
        for prompt in prompts {
            let encoded = encode(&model, arguments, &prompt?)?;
            let mut shown = Shown::default();
            let mut failed = Ok(());
            let answered = answering.stream(&encoded, &mut |spoken| {
                if failed.is_ok() {
                    failed = shown.grow(spoken);
                }
            });
            failed?;
            shown.end(&answered.map_err(Error::from)?.spoken)?;
        }
        return Ok(Ending::Finished);
    }
    // One that can't be used is told before any answer.
    let prompts = prompts.collect::<anyhow::Result<Vec<_>>>()?;
    let encoded = prompts.iter().map(|prompt| encode(&model, arguments, prompt));
    let encoded = encoded.collect::<Result<Vec<_>, _>>()?;
    for (prompts, batch) in prompts.chunks(config.eval.batch).zip(encoded.chunks(config.eval.batch))
    {
        let answers = answering.answer(batch).map_err(Error::from)?;
        for (prompt, Answered { spoken, .. }) in prompts.iter().zip(answers) {
            if arguments.config.json {
                let (thought, answer) = (spoken.thought.as_deref(), spoken.answer.as_str());
                print_json_text(&serde_json::to_string(&Answer { prompt, thought, answer })?)?;
            } else {
                Shown::default().end(&spoken)?;
            }
        }
    }
    Ok(Ending::Finished)
}

/// What is on the screen of an answer, its thought before it.
#[derive(Default)]
struct Shown {
    thought: bool,
    answer: Growing,
}

impl Shown {
    fn grow(&mut self, spoken: &Spoken) -> anyhow::Result<()> {
        if spoken.answer.is_empty() {
            return Ok(());
        }
        self.show_thought(spoken)?;
        self.answer.grow(&spoken.answer)
    }

    fn end(mut self, spoken: &Spoken) -> anyhow::Result<()> {
        self.show_thought(spoken)?;
        self.answer.end(&spoken.answer)
    }

    fn show_thought(&mut self, spoken: &Spoken) -> anyhow::Result<()> {
        match &spoken.thought {
            Some(thought) if !std::mem::replace(&mut self.thought, true) => {
                print_block(&format!("(thought) {thought}\n"))
            }
            _ => Ok(()),
        }
    }
}

fn encode(model: &Model, arguments: &Arguments, prompt: &str) -> Result<Vec<u32>, Error> {
    let system = arguments.system.iter().map(|content| Message::new("system", content));
    let messages: Vec<Message> = system.chain([Message::user(prompt)]).collect();
    Ok(model.tokenizer.encode_prompt(&messages)?)
}

/// Those of the arguments, or else the lines of stdin as they come.
fn prompts(arguments: &Arguments) -> Box<dyn Iterator<Item = anyhow::Result<String>>> {
    if !arguments.prompts.is_empty() {
        return Box::new(arguments.prompts.clone().into_iter().map(Ok));
    }
    let lines = std::io::stdin().lock().lines().map(|line| Ok(line?));
    let blank =
        |line: &anyhow::Result<String>| line.as_ref().is_ok_and(|line| line.trim().is_empty());
    Box::new(lines.filter(move |line| !blank(line)))
}
