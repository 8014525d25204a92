//! Fitting steering vectors on a model without its adapter, at the last prompt token.

use host_contract::{Position, Source, Tap};
use host_data::{Prompt, Split};
use host_model::steering::{RunningMean, Steering};
use host_model::{Chat, Model};

use crate::error::{Error, Result};
use crate::records::observer::Observer;
use crate::session::calibration::{self, LabelledPrompt};

/// mean(h | positive) - mean(h | negative), layer by layer (arXiv 2602.04896).
pub fn difference(
    model: &Model,
    layers: &[u32],
    positive: &[&Prompt],
    negative: &[&Prompt],
    observer: &mut dyn Observer,
) -> Result<Steering> {
    let prompts = positive.len() + negative.len();
    let stage = format!("fitting a steering vector on {prompts} prompts");
    observer.stage(&stage, Some(prompts as u64));
    let positive = means(model, layers, positive, observer)?;
    let negative = means(model, layers, negative, observer)?;
    Ok(Steering::difference(&positive, &negative)?)
}

/// mean(h | harmful) - mean(h | harmless) over the labelled prompts to train on.
pub fn refusal_direction(
    model: &Model,
    layers: &[u32],
    prompts: &[LabelledPrompt],
    observer: &mut dyn Observer,
) -> Result<Steering> {
    let of = |harmful: bool| -> Vec<&Prompt> {
        let chosen = prompts
            .iter()
            .filter(|prompt| prompt.harmful == harmful && prompt.split == Split::Training);
        chosen.map(|one| &one.prompt).collect()
    };
    difference(model, layers, &of(true), &of(false), observer)
}

/// Mean over prompts of h(prompt + instruction) - h(prompt) (arXiv 2602.00707).
pub fn safety_instruction(
    model: &Model,
    layers: &[u32],
    prompts: &[&Prompt],
    instruction: &str,
    observer: &mut dyn Observer,
) -> Result<Steering> {
    let instructed: Vec<Prompt> =
        prompts.iter().map(|prompt| with_instruction(prompt, instruction)).collect();
    let instructed: Vec<&Prompt> = instructed.iter().collect();
    difference(model, layers, &instructed, prompts, observer)
}

/// The last message, which is the user's, goes on with the instruction.
fn with_instruction(prompt: &Prompt, instruction: &str) -> Prompt {
    let mut prompt = prompt.clone();
    if let Some(last) = prompt.messages.last_mut() {
        last.content = format!("{}\n\n{instruction}", last.content).into();
    }
    prompt
}

fn means(
    model: &Model,
    layers: &[u32],
    prompts: &[&Prompt],
    observer: &mut dyn Observer,
) -> Result<RunningMean> {
    if prompts.is_empty() {
        let problem = "one side of a steering vector has no prompts; give at least one to each";
        return Err(Error::config("steering", problem));
    }
    let tap = Tap {
        source: Source::Reference,
        position: Position::LastPromptToken,
        layers: layers.to_vec(),
    };
    // Found before the first forward, with the row's place.
    for prompt in prompts {
        let tokens = model.tokenizer.encode_prompt(prompt.chat())?;
        prompt.check_length(tokens.len(), model)?;
    }
    let prompts: Vec<Chat<'_>> = prompts.iter().map(|prompt| prompt.chat()).collect();
    let shown = calibration::show(&[tap], model, &prompts, observer)?;
    let mut means = RunningMean::default();
    for values in shown.iter().flatten() {
        let activations = values.chunks_exact(model.config.hidden_size);
        for (layer, activation) in layers.iter().zip(activations) {
            means.add(*layer as usize, activation);
        }
    }
    Ok(means)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instruction_ends_the_last_message_and_no_other() {
        let row = r#"{"messages": [{"role": "user", "content": "first"}, {"role": "assistant", "content": "a"}, {"role": "user", "content": "second"}]}"#;
        let prompts = host_data::parse_prompts("x.jsonl".as_ref(), row.into()).expect("a prompt");
        let instructed = with_instruction(&prompts[0], "Take care.");
        assert_eq!(instructed.messages[..2], prompts[0].messages[..2]);
        assert_eq!(instructed.messages[2].content, "second\n\nTake care.");
    }
}
