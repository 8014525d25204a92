//! What an entry of the reference's cache is made from, as its name.
//!
//! Within a run only the sample changes, so its content is the whole key in memory.
//! On disk the name also covers all that is the same throughout a run: model, program,
//! machine and taps. Whatever changes, the name changes, and the old entry is not found.

use candle_core::DType;
use host_contract::Tap;
use host_data::Sample;
use host_files::sha256;
use host_model::decoder::{Decoder, Packed};
use sha2::{Digest, Sha256};

use crate::error::Result;

/// Of the bytes of an entry and of what goes into its name.
const FORMAT: u32 = 1;
/// Tokens of the forward that shows how this machine rounds.
const TRIAL_TOKENS: usize = 32;

/// The content of a sample: its tokens and which of them are answers. A changed row,
/// template or tokenizer shows in them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SampleKey([u8; 32]);

impl SampleKey {
    pub fn of(sample: &Sample) -> Self {
        let mut hasher = Sha256::new();
        let mut number = |value: usize| hasher.update((value as u64).to_le_bytes());
        number(sample.tokens.len());
        number(sample.prompt_len);
        number(sample.answer.len());
        for answer in &sample.answer {
            number(answer.start);
            number(answer.end);
        }
        for token in &sample.tokens {
            hasher.update(token.to_le_bytes());
        }
        Self(hasher.finalize().into())
    }

    /// Of the beginning of the reference's own answer to the sample, of so many tokens.
    pub fn answer(self, tokens: usize) -> Self {
        let mut hasher = Sha256::new();
        hasher.update("answer");
        hasher.update(self.0);
        hasher.update((tokens as u64).to_le_bytes());
        Self(hasher.finalize().into())
    }

    /// Of the same sample before a reference that is steered by what has this digest.
    pub fn steered(self, digest: [u8; 32]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update("steered");
        hasher.update(self.0);
        hasher.update(digest);
        Self(hasher.finalize().into())
    }
}

/// Everything besides the sample that decides the bits of an entry.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Basis([u8; 32]);

impl Basis {
    /// `program` is the digest of the running program: another build may add up in
    /// another order. `model` is the digest of the model's files. The bits of one short
    /// forward stand for what neither of them shows, such as the system's libraries.
    pub fn new(program: &str, model: &str, decoder: &Decoder, taps: &[Tap]) -> Result<Self> {
        let mut hasher = Sha256::new();
        let arithmetic = decoder.arithmetic();
        // Numbered and named, so that no two lists of parts give the same bytes.
        for part in [program, model, &arithmetic, &format!("{taps:?}")] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.update(FORMAT.to_le_bytes());
        for value in trial(decoder)? {
            hasher.update(value.to_le_bytes());
        }
        Ok(Self(hasher.finalize().into()))
    }

    /// The name of a sample's entry.
    pub fn name(&self, sample: &SampleKey) -> String {
        sha256::hex_of([self.0, sample.0])
    }
}

fn trial(decoder: &Decoder) -> Result<Vec<f32>> {
    let config = &decoder.config;
    let count = TRIAL_TOKENS.min(config.max_position);
    let tokens: Vec<u32> =
        (0..count).map(|index| (index * 7919 % config.vocab_size) as u32).collect();
    let batch = Packed::from_sequences(&[tokens]);
    let hidden = decoder.infer(&batch, None, &[])?.hidden;
    Ok(hidden.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}

#[cfg(test)]
mod tests {
    use host_contract::{Position, Source};
    use host_model::{LoadOptions, Source as ModelSource};

    use super::*;

    fn sample() -> Sample {
        let mut sample = Sample::prompt_only(vec![1, 2, 3, 4, 5]);
        sample.prompt_len = 3;
        sample.answer = vec![3..4, 4..5];
        sample
    }

    #[test]
    fn the_key_is_the_content_and_not_the_row() {
        let key = |change: fn(&mut Sample)| {
            let mut sample = sample();
            change(&mut sample);
            SampleKey::of(&sample)
        };
        let plain = key(|_| ());
        assert_eq!(plain, key(|sample| sample.id = 9));
        for other in [
            key(|sample| sample.tokens[0] = 7),
            key(|sample| sample.tokens[4] = 7),
            key(|sample| sample.prompt_len = 2),
            key(|sample| sample.answer = Vec::from([3..5; 1])),
            key(|sample| sample.answer.truncate(1)),
            key(|sample| sample.tokens.push(6)),
            plain.steered([0; 32]),
            plain.answer(3),
        ] {
            assert_ne!(plain, other);
        }
        assert_ne!(plain.steered([0; 32]), plain.steered([1; 32]));
        assert_ne!(plain.answer(3), plain.answer(4));
    }

    #[test]
    fn the_name_changes_with_everything_an_entry_depends_on() {
        let embedded = ModelSource::Embedded(host_data::demo::MODEL);
        let load = |options: &LoadOptions| host_model::load(&embedded, options).expect("embedded");
        let model = load(&LoadOptions::default());
        let plain = load(&LoadOptions {
            kernels: Some(host_model::Kernels::Plain),
            ..LoadOptions::default()
        });
        let tap =
            |source, position, layers: &[u32]| Tap { source, position, layers: layers.to_vec() };
        let taps = [tap(Source::Reference, Position::LastPromptToken, &[1])];
        let name = |program: &str, digest: &str, decoder: &Decoder, taps: &[Tap]| {
            let basis = Basis::new(program, digest, decoder, taps).expect("a basis");
            basis.name(&SampleKey::of(&sample()))
        };
        let decoder = &model.decoder;
        let known = name("program", &model.digest, decoder, &taps);
        assert_eq!(known, name("program", &model.digest, decoder, &taps));
        let mut names = vec![
            known,
            name("another", &model.digest, decoder, &taps),
            name("program", "another", decoder, &taps),
            name("program", &model.digest, &plain.decoder, &taps),
            name("program", &model.digest, decoder, &[]),
        ];
        for other in [
            tap(Source::Current, Position::LastPromptToken, &[1]),
            tap(Source::Reference, Position::PromptMean, &[1]),
            tap(Source::Reference, Position::LastPromptToken, &[2]),
        ] {
            names.push(name("program", &model.digest, decoder, &[other]));
        }
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all, "two different things have one name");
    }
}
