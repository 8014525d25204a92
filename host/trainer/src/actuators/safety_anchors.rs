//! Safety anchors: prompts with the beginning of the reference's own answers, and their turns.
//! A step that visits some is in `step/anchors.rs`.

use host_contract::AnchorNeed;
use host_data::Sample;
use serde::{Deserialize, Serialize};

/// A prompt with the beginning of the reference's own answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnchorPrompt {
    pub tokens: Vec<u32>,
    /// Tokens before the answer.
    pub prompt: usize,
}

/// The anchors of a run, in the order of their turns.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AnchorPrompts {
    pub need: AnchorNeed,
    pub harmful: Vec<AnchorPrompt>,
    pub harmless: Vec<AnchorPrompt>,
}

/// Anchors as samples of the model.
pub struct Anchors {
    pub prompts: AnchorPrompts,
    harmful: Vec<Sample>,
    harmless: Vec<Sample>,
}

impl From<AnchorPrompts> for Anchors {
    fn from(prompts: AnchorPrompts) -> Self {
        let sample = |one: &AnchorPrompt| {
            let mut sample = Sample::prompt_only(one.tokens.clone());
            sample.prompt_len = one.prompt;
            sample.answer = std::iter::once(one.prompt..one.tokens.len()).collect();
            sample
        };
        let samples = |all: &[AnchorPrompt]| all.iter().map(sample).collect();
        Self { harmful: samples(&prompts.harmful), harmless: samples(&prompts.harmless), prompts }
    }
}

impl Anchors {
    /// The anchors of the visit with this number, from 0: the next harmful ones, then the next
    /// harmless ones.
    pub fn visit(&self, number: u64) -> (Vec<&Sample>, Vec<bool>) {
        let AnchorNeed { harmful, harmless, .. } = self.prompts.need;
        let mut samples = Vec::new();
        for (all, count) in [(&self.harmful, harmful), (&self.harmless, harmless)] {
            let first = (number as usize).wrapping_mul(count as usize);
            let turn = (0..count as usize).map(|i| first.wrapping_add(i) % all.len().max(1));
            samples.extend(turn.filter_map(|i| all.get(i)));
        }
        let flags = (0..samples.len()).map(|i| i < harmful as usize).collect();
        (samples, flags)
    }
}

#[cfg(test)]
mod tests {
    use host_contract::AnchorDivergence;

    use super::*;

    fn anchors(harmful: usize, harmless: usize, need: [u32; 2]) -> Anchors {
        let prompt = |i: usize| AnchorPrompt { tokens: vec![i as u32; 5], prompt: 3 };
        AnchorPrompts {
            need: AnchorNeed {
                harmful: need[0],
                harmless: need[1],
                answer_tokens: 2,
                divergence: AnchorDivergence::ForwardKl,
            },
            harmful: (0..harmful).map(prompt).collect(),
            harmless: (100..100 + harmless).map(prompt).collect(),
        }
        .into()
    }

    #[test]
    fn anchors_take_turns_and_begin_again() {
        let anchors = anchors(3, 2, [2, 1]);
        let first = |number| {
            let (samples, harmful) = anchors.visit(number);
            assert_eq!(harmful, [true, true, false]);
            samples.iter().map(|sample| sample.tokens[0]).collect::<Vec<u32>>()
        };
        assert_eq!(first(0), [0, 1, 100]);
        assert_eq!(first(1), [2, 0, 101]);
        assert_eq!(first(2), [1, 2, 100]);
    }
}
