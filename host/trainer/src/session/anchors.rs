//! What a run prepares beside its batches: the safety anchors, with the beginning of what the
//! reference itself answers to each, and the safety tokens, which follow from those answers.

use candle_core::DType;
use host_contract::{AnchorDivergence, AnchorNeed, Needs};
use host_data::{Failure, Prompt, Reader, Sample, random};
use host_model::Model;
use host_model::decoder::{Packed, TokenSubset};
use host_model::generate::{GenerateOptions, generate};
use rand::seq::SliceRandom;

use crate::actuators::safety_anchors::{AnchorPrompt, AnchorPrompts, Anchors};
use crate::config::RunConfig;
use crate::error::Result;
use crate::records::observer::Observer;
use crate::signals::reference::{ReferenceOutputs, SampleKey, Store};

/// Prompts that are answered together, between two looks at whether to stop.
const TOGETHER: usize = 32;
/// Answer tokens at whose places safety tokens are looked for.
const OPENING: u32 = 8;
/// Prompts of each kind that safety tokens are looked for in.
const ASKED: u64 = 64;

/// A run and the needs of its policies.
pub struct Beside<'a> {
    pub config: &'a RunConfig,
    pub needs: &'a [&'a Needs],
    pub reader: &'a Reader,
    pub model: &'a Model,
    /// Answers that other runs have kept.
    pub store: Option<&'a Store>,
}

impl Beside<'_> {
    /// The anchors that the policies visit in so many steps; none if none does.
    ///
    /// # Errors
    /// A file that can't be read, or whose prompts the reference answers with nothing.
    pub fn anchors(
        &self,
        total_steps: u64,
        observer: &mut dyn Observer,
    ) -> Result<Option<Anchors>> {
        // Needs that can't go together were refused before.
        let Ok(Some(need)) = AnchorNeed::together(self.needs) else {
            return Ok(None);
        };
        let mut making = Making { run: self, need, total_steps, observer };
        let harmful = making.kind("harmful", need.harmful)?;
        let harmless = making.kind("harmless", need.harmless)?;
        Ok(Some(AnchorPrompts { need, harmful, harmless }.into()))
    }

    /// Prompts of one kind as tokens, at most so many of them, drawn by the seed.
    fn prompts(&self, name: &str, need: AnchorNeed, most: usize) -> Result<Vec<Vec<u32>>> {
        let anchors = &self.config.anchors;
        let sources = if name == "harmful" { &anchors.harmful } else { &anchors.harmless };
        let mut rows = self.reader.prompts(sources)?;
        self.reader.check(&rows, self.model)?;
        rows.shuffle(&mut random::stream(self.config.seed.0, &format!("anchors.{name}"), 0));
        rows.truncate(most.min(anchors.limit));
        let tokens = |row: &Prompt| {
            let tokens = self.model.tokenizer.encode_to_answer(row.chat())?;
            row.check_length(tokens.len() + need.tokens(), self.model)?;
            Ok(tokens)
        };
        rows.iter().map(tokens).collect()
    }

    /// Lengths of the sequences of one visit, of middling prompts, and how many tokens of each
    /// are of the answer.
    ///
    /// # Errors
    /// A file that can't be read.
    pub fn lengths(&self) -> Result<Option<(Vec<usize>, usize)>> {
        let Ok(Some(need)) = AnchorNeed::together(self.needs) else {
            return Ok(None);
        };
        let mut lengths = Vec::new();
        for (name, count) in [("harmful", need.harmful), ("harmless", need.harmless)] {
            if count > 0 {
                let prompts = self.prompts(name, need, usize::MAX)?;
                let mut all: Vec<usize> = prompts.iter().map(Vec::len).collect();
                all.sort_unstable();
                let middle = all[all.len() / 2] + need.tokens();
                lengths.extend(std::iter::repeat_n(middle, count as usize));
            }
        }
        Ok(Some((lengths, need.tokens())))
    }

    /// The tokens that the reference says more often at the start of its answers to harmful
    /// anchors than to harmless ones, if a policy asks for them.
    ///
    /// # Errors
    /// As for anchors.
    pub fn token_set(&self, observer: &mut dyn Observer) -> Result<Option<TokenSubset>> {
        let Some(set) = self.needs.iter().find_map(|needs| needs.token_set) else {
            return Ok(None);
        };
        let need = AnchorNeed {
            harmful: 1,
            harmless: 1,
            answer_tokens: OPENING,
            divergence: AnchorDivergence::ForwardKl,
        };
        let mut making = Making { run: self, need, total_steps: ASKED, observer };
        let harmful = making.kind("harmful", 1)?;
        let harmless = making.kind("harmless", 1)?;
        let (said, otherwise) = (self.spoken(&harmful)?, self.spoken(&harmless)?);
        let mut ranked: Vec<(f64, u32)> =
            said.iter().zip(otherwise).map(|(said, other)| said - other).zip(0..).collect();
        ranked.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let mut ids: Vec<u32> = ranked.iter().take(set.count as usize).map(|(_, id)| *id).collect();
        let first: Vec<String> = ids
            .iter()
            .take(8)
            .filter_map(|id| self.model.tokenizer.token(*id))
            .map(|token| format!("{token:?}"))
            .collect();
        observer.show("safety tokens, the first of them", &first.join(" "));
        ids.sort_unstable();
        let vocabulary = self.model.config.vocab_size;
        Ok(Some(TokenSubset::new(ids, set.temperature, vocabulary)?))
    }

    /// Mean probability of every token of the vocabulary at the places of the answers.
    fn spoken(&self, anchors: &[AnchorPrompt]) -> Result<Vec<f64>> {
        let decoder = &self.model.decoder;
        let vocabulary = self.model.config.vocab_size;
        let mut sums = vec![0f64; vocabulary];
        let mut places = 0;
        for anchor in anchors {
            let batch = Packed::from_sequences(&[&anchor.tokens]);
            let hidden = decoder.infer(&batch, None, &[])?.hidden;
            let count = anchor.tokens.len() - anchor.prompt;
            let rows = hidden.narrow(0, anchor.prompt - 1, count)?.contiguous()?;
            let logits = decoder.logits(&rows)?.to_dtype(DType::F32)?;
            for row in logits.to_vec2::<f32>()? {
                let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let odds = |value: &f32| f64::from(value - largest).exp();
                let total: f64 = row.iter().map(odds).sum();
                sums.iter_mut().zip(&row).for_each(|(sum, value)| *sum += odds(value) / total);
            }
            places += count;
        }
        sums.iter_mut().for_each(|sum| *sum /= places.max(1) as f64);
        Ok(sums)
    }
}

struct Making<'a> {
    run: &'a Beside<'a>,
    need: AnchorNeed,
    total_steps: u64,
    observer: &'a mut dyn Observer,
}

impl Making<'_> {
    /// Prompts of one kind, as many as the run can come to.
    fn kind(&mut self, name: &str, per_visit: u32) -> Result<Vec<AnchorPrompt>> {
        if per_visit == 0 {
            return Ok(Vec::new());
        }
        let visits = usize::try_from(self.total_steps).unwrap_or(usize::MAX);
        let wanted = visits.saturating_mul(per_visit as usize).max(1);
        let prompts = self.run.prompts(name, self.need, wanted)?;
        let answers = match self.need.divergence {
            AnchorDivergence::ForwardKl => self.answers(name, &prompts)?,
            // The row that is compared stands before the answer, so any token will do.
            AnchorDivergence::HiddenDistance => prompts.iter().map(|one| vec![one[0]]).collect(),
        };
        let all = prompts.len();
        let anchors: Vec<AnchorPrompt> = prompts
            .into_iter()
            .zip(answers)
            .filter(|(_, answer)| !answer.is_empty())
            .map(|(prompt, answer)| AnchorPrompt {
                tokens: [&prompt[..], &answer].concat(),
                prompt: prompt.len(),
            })
            .collect();
        if anchors.is_empty() {
            let problem = "name prompts of which the reference answers none; name others";
            return Err(Failure::config(format!("anchors.{name}"), problem).into());
        }
        if anchors.len() < all {
            let left_out = all - anchors.len();
            self.observer.notice(&format!(
                "the reference answers {left_out} of {all} prompts of anchors.{name} with nothing: they are \
                 no anchors"
            ));
        }
        Ok(anchors)
    }

    /// Beginnings of the reference's greedy answers, those of other runs read from the cache.
    fn answers(&mut self, name: &str, prompts: &[Vec<u32>]) -> Result<Vec<Vec<u32>>> {
        let count = self.need.tokens();
        let stop = self.run.model.tokenizer.stop_tokens();
        let key =
            |prompt: &[u32]| SampleKey::of(&Sample::prompt_only(prompt.to_vec())).answer(count);
        let device = self.run.model.decoder.device();
        let known = |prompt: &Vec<u32>| self.run.store?.get(&key(prompt), device)?.answer();
        let mut answers: Vec<Option<Vec<u32>>> = prompts.iter().map(known).collect();
        let open: Vec<usize> = (0..prompts.len()).filter(|i| answers[*i].is_none()).collect();
        if !open.is_empty() {
            let title = format!("the reference's answers to {} {name} safety anchors", open.len());
            self.observer.stage(&title, Some(open.len() as u64));
        }
        for some in open.chunks(TOGETHER) {
            if self.observer.is_stopping() {
                return Err(Failure::Interrupted.into());
            }
            let asked: Vec<Vec<u32>> = some.iter().map(|i| prompts[*i].clone()).collect();
            let options = GenerateOptions { max_new_tokens: count, ..GenerateOptions::default() };
            let decoder = &self.run.model.decoder;
            let found = generate(decoder, None, &asked, stop, &options, &mut |_| ())?;
            for (i, answer) in some.iter().zip(found) {
                // An empty tensor has no file.
                if let Some(store) = self.run.store.filter(|_| !answer.is_empty()) {
                    store.put(&key(&prompts[*i]), &ReferenceOutputs::of_answer(&answer)?)?;
                }
                answers[*i] = Some(answer);
            }
            self.observer.advance(some.len() as u64);
        }
        Ok(answers.into_iter().map(Option::unwrap_or_default).collect())
    }
}
