//! Reads the files of one run or command, and collects what a person should know of them.

use std::cell::RefCell;

use host_model::{ChatTokenizer, Model};

use super::config::DataConfig;
use super::encode::Encoded;
use super::error::{Error, Result};
use super::hub::Digests;
use super::notices::{BadRows, Notices, Read};
use super::rendered;
use super::rows::{Prompt, Row};
use super::samples::Samples;
use super::source::{self, DataSource};
use super::training::{Texts, read_samples};

/// Reads files as the configuration says, and keeps what was noticed until it is told.
#[derive(Debug, Default)]
pub struct Reader {
    pub seed: u64,
    bad: BadRows,
    notices: RefCell<Notices>,
    digests: RefCell<Digests>,
}

impl Reader {
    pub fn new(seed: u64, bad: BadRows) -> Self {
        Self { seed, bad, ..Self::default() }
    }

    /// Rows with answers that are read and not learned, mixed; see [`source::read_answers`].
    pub fn rows(&self, sources: &[DataSource]) -> Result<Vec<Row>> {
        Ok(self.noticed(source::read_answers(sources, self.seed, &self.bad)?))
    }

    /// Training rows of the configuration's sources as samples, mixed; see [`read_samples`].
    pub fn samples(
        &self,
        config: &DataConfig,
        tokenizer: &ChatTokenizer,
        texts: Texts,
    ) -> Result<Encoded<Samples>> {
        let sources = config.sources();
        let (encoded, notices) = read_samples(&sources, self.seed, config, tokenizer, texts)?;
        self.keep(notices);
        Ok(encoded)
    }

    /// Prompts of the sources, mixed; see [`source::read_prompts`].
    pub fn prompts(&self, sources: &[DataSource]) -> Result<Vec<Prompt>> {
        Ok(self.noticed(source::read_prompts(sources, self.seed, &self.bad)?))
    }

    /// Keeps what a model's chat template leaves out of prompts, and refuses those that are longer
    /// than its context with their expected answers.
    ///
    /// # Errors
    /// As [`read_samples`] for what changes their meaning,
    /// [`Error::TooLongForModel`], and if the chat template refuses a prompt.
    pub fn check<'p>(
        &self,
        prompts: impl IntoIterator<Item = &'p Prompt>,
        model: &Model,
    ) -> Result<()> {
        let tokenizer = &model.tokenizer;
        let mut notices = self.notices.borrow_mut();
        for prompt in prompts {
            let unfaithful = rendered::unfaithful(&prompt.place, prompt.chat(), tokenizer)?;
            if !unfaithful.is_empty() {
                notices.of(&prompt.place.file).unfaithful(unfaithful);
            }
            let wrong = |error: host_model::Error| Error::Encode {
                place: prompt.place.clone(),
                message: error.to_string(),
            };
            let answer = prompt.expected().unwrap_or_default();
            let answer = tokenizer.encode(answer).map_err(wrong)?.len();
            let tokens = tokenizer.encode_prompt(prompt.chat()).map_err(wrong)?.len() + answer;
            // A token of the answer at least.
            prompt.check_length(tokens + 1, model)?;
        }
        notices.check_variables(tokenizer)
    }

    fn noticed<T>(&self, read: Read<T>) -> Vec<T> {
        self.keep(read.notices);
        read.rows
    }

    /// Keeps what was noticed elsewhere.
    pub fn keep(&self, notices: Notices) {
        let read = notices.digests().map(|(file, digest)| (file.to_owned(), digest.to_owned()));
        self.digests.borrow_mut().extend(read);
        self.notices.borrow_mut().extend(notices);
    }

    /// Digests of all files that were read, so that they needn't be read again for that.
    pub fn digests(&self) -> Digests {
        self.digests.borrow().clone()
    }

    /// What a person should know of all that was read.
    pub fn notices(&self) -> Notices {
        self.notices.borrow().worth_telling()
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
