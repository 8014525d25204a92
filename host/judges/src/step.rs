//! What policies ask of judges for the samples of one step: whole answers, and prefixes.
//! A judge is asked once for all of it.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use host_contract::{JudgeNeed, JudgeScores, Judgement, PrefixScores};
use host_data::failure::Result;
use host_data::{Message, Sample};
use host_model::{ChatTokenizer, Utterance};

use super::{Judges, Pair, prefixes};

/// What a policy asked for, and what the judge said.
pub struct Judged {
    pub need: JudgeNeed,
    pub scores: JudgeScores,
    /// If it asked for prefixes.
    pub prefixes: Option<PrefixScores>,
}

/// A step that was begun is finished.
static NEVER: AtomicBool = AtomicBool::new(false);

impl Judges {
    /// One per need, in no particular order.
    ///
    /// # Errors
    /// Those of [`Judges::judge`], and if more judgements are no score than the run puts up
    /// with.
    pub fn of_step<'n>(
        &self,
        needs: impl Iterator<Item = &'n JudgeNeed>,
        samples: &[&Sample],
        tokenizer: &ChatTokenizer,
    ) -> Result<Vec<Judged>> {
        let spoken = spoken(samples);
        let mut judged = Vec::new();
        for (name, needs) in by_judge(needs) {
            let question = Question::of(&needs, samples, &spoken, tokenizer)?;
            let judgements = self.judge(name, &question.pairs, &NEVER)?;
            self.count(name, &judgements)?;
            judged.extend(question.answered(&judgements));
        }
        Ok(judged)
    }

    /// Asks about what a step will ask for.
    pub(super) fn ask_ahead<'n>(
        &self,
        needs: impl Iterator<Item = &'n JudgeNeed>,
        samples: &[&Sample],
        tokenizer: &ChatTokenizer,
        stop: &AtomicBool,
    ) -> Result<()> {
        let spoken = spoken(samples);
        for (name, needs) in by_judge(needs) {
            let question = Question::of(&needs, samples, &spoken, tokenizer)?;
            self.of_name(name)?.ask_ahead(&question.pairs, stop)?;
        }
        Ok(())
    }
}

/// Different needs, by the judge they are for.
fn by_judge<'n>(
    needs: impl Iterator<Item = &'n JudgeNeed>,
) -> BTreeMap<&'n str, Vec<&'n JudgeNeed>> {
    let mut by_judge: BTreeMap<&str, Vec<&JudgeNeed>> = BTreeMap::new();
    for need in needs {
        let known = by_judge.entry(&need.judge).or_default();
        if !known.contains(&need) {
            known.push(need);
        }
    }
    by_judge
}

/// All that one judge is asked about a step.
struct Question<'a> {
    /// The last answer of each sample, then the prefixes of each need in turn.
    pairs: Vec<Pair<'a>>,
    samples: usize,
    parts: Vec<Part<'a>>,
}

struct Part<'a> {
    need: &'a JudgeNeed,
    /// First prefix of each sample among those of the need, and their number.
    offsets: Vec<u32>,
    ends: Vec<u32>,
}

impl<'a> Question<'a> {
    fn of(
        needs: &[&'a JudgeNeed],
        samples: &[&'a Sample],
        spoken: &'a [Vec<Utterance<'a>>],
        tokenizer: &ChatTokenizer,
    ) -> Result<Self> {
        let mut question = Self {
            pairs: samples
                .iter()
                .zip(spoken)
                .map(|(sample, it)| last_answer(&sample.messages, it))
                .collect(),
            samples: samples.len(),
            parts: Vec::new(),
        };
        for need in needs {
            let (mut offsets, mut ends) = (vec![0], Vec::new());
            for (sample, spoken) in
                need.prefix_words.map_or(&[][..], |_| samples).iter().zip(spoken)
            {
                let words = need.prefix_words.unwrap_or_default();
                for prefix in prefixes::prefixes(sample, spoken, words, tokenizer)? {
                    ends.push(prefix.end);
                    question.pairs.push(prefix.pair);
                }
                offsets.push(ends.len() as u32);
            }
            question.parts.push(Part { need, offsets, ends });
        }
        Ok(question)
    }

    /// `judgements` are of all its pairs, in order.
    fn answered(self, judgements: &[Judgement]) -> Vec<Judged> {
        let (whole, mut rest) = judgements.split_at(self.samples);
        let parts = self.parts.into_iter().map(|part| {
            let (prefixes, behind) = rest.split_at(part.ends.len());
            rest = behind;
            let judge = || part.need.judge.clone();
            Judged {
                need: part.need.clone(),
                scores: JudgeScores { judge: judge(), judgements: whole.to_vec() },
                prefixes: part.need.prefix_words.map(|_| PrefixScores {
                    judge: judge(),
                    offsets: part.offsets,
                    ends: part.ends,
                    judgements: prefixes.to_vec(),
                }),
            }
        });
        parts.collect()
    }
}

/// What each message of each sample says.
fn spoken<'a>(samples: &[&'a Sample]) -> Vec<Vec<Utterance<'a>>> {
    samples.iter().map(|sample| sample.messages.iter().map(Message::utterance).collect()).collect()
}

/// The last answer of a conversation stands for it: all of it that is learned.
pub(super) fn last_answer<'a>(messages: &'a [Message], spoken: &'a [Utterance<'a>]) -> Pair<'a> {
    match (messages.split_last(), spoken.last()) {
        (Some((_, messages)), Some(spoken)) => Pair { messages, answer: &spoken.text },
        _ => Pair { messages: &[], answer: "" },
    }
}
