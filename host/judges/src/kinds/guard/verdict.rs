//! Where a verdict begins, and how probable each of its words is there.

use candle_core::Tensor;
use host_data::failure::{Failure as Error, Result};
use host_model::ChatTokenizer;
use host_model::decoder::{Decoder, Packed};

use super::manner::Manner;
use super::prompt::Writer;
use crate::Pair;
use host_model::Message;

/// The words of a verdict.
pub struct Words {
    /// What stands before them, and isn't part of the prompt.
    lead: String,
    /// Harmful ones first.
    words: Vec<String>,
    harmful: usize,
}

/// A prompt up to where the words of its verdict part.
pub struct Asked {
    pub tokens: Vec<u32>,
    /// First token of each word, harmful ones first.
    words: Vec<u32>,
    harmful: usize,
}

/// What a model says at that place.
pub struct Verdict {
    /// The share of the harmful words.
    pub harm: f64,
    /// What all words have together.
    pub together: f64,
}

impl Words {
    /// # Errors
    /// If harmful and harmless words begin with the same token in this model.
    pub fn new(
        manner: &Manner,
        writer: &Writer,
        tokenizer: &ChatTokenizer,
        key: &str,
    ) -> Result<Self> {
        let messages = [Message::user("Hello.")];
        let prompt = writer.write(&Pair { messages: &messages, answer: "Hello." }, tokenizer)?;
        // A template may write the blank line itself.
        let written = manner.after.is_none() && prompt.ends_with(&manner.lead);
        let words = Self {
            lead: if written { String::new() } else { manner.lead.clone() },
            words: manner.harmful.iter().chain(&manner.harmless).cloned().collect(),
            harmful: manner.harmful.len(),
        };
        let prompt = prompt + manner.after.as_deref().unwrap_or_default();
        if words.parted(&prompt, tokenizer)?.is_none() {
            let problem = format!(
                "{:?} and {:?} begin with the same token in this model; choose other words",
                manner.harmful, manner.harmless
            );
            return Err(Error::config(format!("{key}.harmful"), problem));
        }
        Ok(words)
    }

    /// The tokens before the verdict behind this text.
    pub fn behind(&self, text: &str, tokenizer: &ChatTokenizer) -> Result<Asked> {
        let parted = self.parted(text, tokenizer)?;
        // As at the start; the text before decides nothing about it.
        Ok(parted.unwrap_or(Asked { tokens: Vec::new(), words: Vec::new(), harmful: 0 }))
    }

    /// Encodes the text with each of the words, so that no boundary between tokens is
    /// guessed, and finds where they part; nowhere if one is the beginning of another, or two
    /// of different meaning begin alike.
    fn parted(&self, text: &str, tokenizer: &ChatTokenizer) -> Result<Option<Asked>> {
        let whole = |word: &String| tokenizer.encode(&format!("{text}{}{word}", self.lead));
        let whole = self.words.iter().map(whole).collect::<Result<Vec<_>, _>>()?;
        let (Some(first), Some(other)) = (whole.first(), whole.get(self.harmful)) else {
            return Ok(None);
        };
        let common = first.iter().zip(other).take_while(|(one, other)| one == other).count();
        let begin = self.beginning(text, tokenizer)?.min(common);
        let words: Option<Vec<u32>> = whole.iter().map(|it| it.get(begin).copied()).collect();
        let before = &first[..begin];
        let alike = whole.iter().all(|it| it.starts_with(before));
        let parts = |words: &[u32]| {
            let (harmful, harmless) = words.split_at(self.harmful);
            !harmful.iter().any(|word| harmless.contains(word))
        };
        let words = words.filter(|words| alike && parts(words));
        Ok(words.map(|words| Asked { tokens: before.to_vec(), words, harmful: self.harmful }))
    }

    /// Tokens of the text and the lead by themselves.
    fn beginning(&self, text: &str, tokenizer: &ChatTokenizer) -> Result<usize> {
        Ok(tokenizer.encode(&format!("{text}{}", self.lead))?.len())
    }
}

/// The verdict behind each prompt.
pub fn read(decoder: &Decoder, asked: &[&Asked]) -> Result<Vec<Verdict>> {
    let packed = Packed::from_sequences(&asked.iter().map(|it| &it.tokens).collect::<Vec<_>>());
    let hidden = decoder.infer(&packed, None, &[])?.hidden;
    let ends = packed.starts.iter().skip(1).zip(asked);
    // The last row of each sequence, once per word.
    let rows: Vec<u32> =
        ends.flat_map(|(end, asked)| vec![*end as u32 - 1; asked.words.len()]).collect();
    let rows = Tensor::new(rows, hidden.device())?;
    let words: Vec<u32> = asked.iter().flat_map(|it| it.words.iter().copied()).collect();
    let scores = decoder.label_log_probs(&hidden.index_select(&rows, 0)?, &words)?;
    let mut rest = &scores[..];
    let verdicts = asked.iter().map(|asked| {
        let (own, behind) = rest.split_at(asked.words.len());
        rest = behind;
        let (harmful, harmless) = own.split_at(asked.harmful);
        let (harmful, harmless) =
            (log_sum(harmful, &asked.words), log_sum(harmless, &asked.words[asked.harmful..]));
        let margin = harmful - harmless;
        Verdict { harm: 1.0 / (1.0 + (-margin).exp()), together: harmful.exp() + harmless.exp() }
    });
    Ok(verdicts.collect())
}

/// ln of the sum of probabilities, each token once.
fn log_sum(scores: &[f32], words: &[u32]) -> f64 {
    let once = scores.iter().zip(words).enumerate();
    let once = once.filter(|(at, (_, word))| !words[..*at].contains(word));
    let scores: Vec<f64> = once.map(|(_, (score, _))| f64::from(*score)).collect();
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if scores.len() == 1 {
        return scores[0];
    }
    most + scores.iter().map(|score| (score - most).exp()).sum::<f64>().ln()
}
