//! An answer while its tokens come: its text, its thought, and where it ends.

use host_model::{ChatTokenizer, Result, Spoken, Stage, TextStream};

use super::ask::{Answer, Ask, Delta, Finish, Scored};

/// What follows a token.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Another one.
    Goes,
    /// These, which end a thought that has no more room; then the answer.
    Closes(Vec<u32>),
    /// Nothing more.
    Ends(Finish),
}

/// A text of which a part was told.
#[derive(Default)]
struct Told {
    text: String,
    told: usize,
}

impl Told {
    fn news(&mut self) -> String {
        let news = self.text[self.told..].to_owned();
        self.told = self.text.len();
        news
    }

    /// What is left to tell of `whole`; none if it doesn't begin with what is there.
    fn rest(&self, whole: &str) -> Option<String> {
        whole.strip_prefix(&self.text[..self.told]).map(str::to_owned)
    }
}

/// An answer that is being generated.
pub struct Utterance {
    ask: Ask,
    /// Most tokens of prompt and answer.
    context: usize,
    tokens: Vec<u32>,
    stage: Stage,
    stream: TextStream,
    /// The text of all tokens but the last ones of an incomplete character, special tokens included. Once the answer
    /// has begun it only grows where somebody reads it.
    raw: String,
    /// For every token that was followed, where its text ends in `raw`.
    ends: Vec<usize>,
    scores: Vec<Scored>,
    thought_tokens: usize,
    /// Tokens that end a thought and are still to come.
    closing: usize,
    /// Whether white space before the answer is left out.
    trims: bool,
    /// Whether a special token is among them, which nobody is told.
    has_special: bool,
    /// Bytes of `raw` that are in `thought` or `answer`, or belong to neither.
    read: usize,
    thought: Told,
    answer: Told,
    told_scores: usize,
    /// Bytes of `raw` that hold no stop text.
    searched: usize,
    /// Where a stop text begins.
    cut: Option<usize>,
    prompt_scores: Vec<Option<Scored>>,
}

impl Utterance {
    /// Of an answer that begins; `context` is the model's.
    pub fn new(ask: Ask, context: usize) -> Self {
        let looks_for_thoughts = ask.max_thinking_tokens.is_some();
        let stage = if looks_for_thoughts { Stage::Undecided } else { Stage::Speaking { from: 0 } };
        Self {
            ask,
            context,
            tokens: Vec::new(),
            stage,
            stream: TextStream::default(),
            raw: String::new(),
            ends: Vec::new(),
            scores: Vec::new(),
            thought_tokens: 0,
            closing: 0,
            trims: false,
            has_special: false,
            read: 0,
            thought: Told::default(),
            answer: Told::default(),
            told_scores: 0,
            searched: 0,
            cut: None,
            prompt_scores: Vec::new(),
        }
    }

    /// What was asked.
    pub fn ask(&self) -> &Ask {
        &self.ask
    }

    /// What the prompt's tokens came to.
    pub fn set_prompt_scores(&mut self, scores: Vec<Option<Scored>>) {
        self.prompt_scores = scores;
    }

    /// Most tokens that prompt and answer may come to.
    pub fn longest(&self) -> usize {
        let ask = &self.ask;
        let all = ask.max_tokens.saturating_add(ask.max_thinking_tokens.unwrap_or(0));
        let all = ask.max_all_tokens.map_or(all, |most| most.min(all));
        ask.prompt.len().saturating_add(all).min(self.context)
    }

    /// The next token of the answer.
    ///
    /// # Errors
    /// When it isn't one of the tokenizer.
    pub fn add(
        &mut self,
        tokenizer: &ChatTokenizer,
        token: u32,
        score: Option<Scored>,
    ) -> Result<Next> {
        self.tokens.push(token);
        self.scores.extend(score);
        self.has_special |= tokenizer.is_special(token);
        let is_read = self.ask.stream || !self.ask.stops.is_empty();
        if is_read || !matches!(self.stage, Stage::Speaking { .. }) {
            let text = tokenizer.add_token(&mut self.stream, token)?;
            self.raw.push_str(&text);
            self.ends.push(self.raw.len());
        }
        if self.closing > 0 {
            self.closing -= 1;
            if self.closing == 0 {
                self.speak(self.raw.len(), self.tokens.len());
            }
        } else {
            self.look(tokenizer)?;
        }
        if self.closing == 0 && self.finds_stop() {
            return Ok(Next::Ends(Finish::Stop));
        }
        self.limited(tokenizer)
    }

    /// A token that ends the answer, whose score is told where it was asked for.
    pub fn end(&mut self, score: Option<Scored>) {
        self.scores.extend(score.filter(|_| self.ask.score_stop));
    }

    /// From here on the model speaks.
    fn speak(&mut self, from: usize, thought_tokens: usize) {
        self.trims = from > 0;
        self.stage = Stage::Speaking { from };
        self.thought_tokens = thought_tokens;
        (self.read, self.searched) = (from, from);
        if thought_tokens > 0 {
            self.scores.clear();
        }
    }

    /// Whether the newest text begins or ends a thought.
    fn look(&mut self, tokenizer: &ChatTokenizer) -> Result<()> {
        if self.stage == Stage::Undecided {
            match tokenizer.stage(&self.ask.prompt, &self.raw)? {
                Stage::Speaking { from } => self.speak(from, 0),
                Stage::Thinking { from, ends } => {
                    self.read = from;
                    self.stage = Stage::Thinking { from, ends };
                }
                Stage::Undecided => {}
            }
        }
        if let Stage::Thinking { from, ends } = &self.stage {
            let thought = &self.raw[*from..];
            let found = ends.iter().filter_map(|end| Some((from + thought.find(end)?, end.len())));
            if let Some((at, length)) = found.min() {
                let count = tokenizer.spoken(&self.ask.prompt, &self.tokens)?.thought_tokens;
                self.read_thought(tokenizer, at);
                self.speak(at + length, count);
            }
        }
        Ok(())
    }

    /// Where the answer begins; none if the model hasn't spoken.
    fn begin(&self) -> Option<usize> {
        let Stage::Speaking { from } = self.stage else { return None };
        let said = &self.raw[from..];
        Some(if self.trims { self.raw.len() - said.trim_start().len() } else { from })
    }

    /// Looks for a stop text in the answer's newest part.
    fn finds_stop(&mut self) -> bool {
        let longest = self.ask.stops.iter().map(String::len).max().unwrap_or(0);
        let Some(begin) = self.begin().filter(|_| longest > 0) else { return false };
        let mut from = self.searched.saturating_sub(longest).max(begin);
        while !self.raw.is_char_boundary(from) {
            from -= 1;
        }
        let found = self.ask.stops.iter().filter_map(|stop| self.raw[from..].find(stop.as_str()));
        self.cut = found.min().map(|at| from + at);
        self.searched = self.raw.len();
        self.cut.is_some()
    }

    fn limited(&mut self, tokenizer: &ChatTokenizer) -> Result<Next> {
        let count = self.tokens.len();
        if self.ask.prompt.len() + count >= self.context
            || self.ask.max_all_tokens.is_some_and(|most| count >= most)
        {
            return Ok(Next::Ends(Finish::Length));
        }
        if self.closing > 0 {
            return Ok(Next::Goes);
        }
        match &self.stage {
            Stage::Thinking { .. } => {
                if count < self.ask.max_thinking_tokens.unwrap_or(usize::MAX) {
                    return Ok(Next::Goes);
                }
                self.read_thought(tokenizer, self.raw.len());
                let close = tokenizer.end_of_thought(&self.ask.prompt, &self.tokens)?;
                if close.is_empty() {
                    self.speak(self.raw.len(), count);
                    return Ok(Next::Goes);
                }
                self.closing = close.len();
                Ok(Next::Closes(close))
            }
            Stage::Undecided | Stage::Speaking { .. } => {
                if count - self.thought_tokens < self.ask.max_tokens {
                    return Ok(Next::Goes);
                }
                // It may have ended a thought whose begin doesn't show.
                if self.thought_tokens == 0 && self.ask.max_thinking_tokens.is_some() {
                    let late = tokenizer.spoken(&self.ask.prompt, &self.tokens)?;
                    self.thought_tokens = if late.finished { late.thought_tokens } else { 0 };
                }
                let goes = count - self.thought_tokens < self.ask.max_tokens;
                Ok(if goes { Next::Goes } else { Next::Ends(Finish::Length) })
            }
        }
    }

    /// What can be told by now and wasn't: nothing that may belong to a mark, a stop text or white space at an end.
    pub fn news(&mut self, tokenizer: &ChatTokenizer) -> Delta {
        let unread = &self.raw[self.read..];
        match &self.stage {
            _ if self.closing > 0 => {}
            Stage::Undecided => {}
            Stage::Thinking { ends, .. } => {
                self.read_thought(tokenizer, self.raw.len() - held_back(unread, ends));
            }
            Stage::Speaking { .. } => {
                let end = self.raw.len() - held_back(unread, &self.ask.stops);
                self.read_answer(tokenizer, end);
            }
        }
        let is_spoken = matches!(self.stage, Stage::Speaking { .. });
        let scores = self.scores.get(self.told_scores..).filter(|_| is_spoken);
        let scores = scores.unwrap_or_default().to_vec();
        self.told_scores += scores.len();
        Delta { thought: self.thought.news(), answer: self.answer.news(), scores }
    }

    /// Takes the text up to `end` for the thought, but for white space at its ends.
    fn read_thought(&mut self, tokenizer: &ChatTokenizer, end: usize) {
        let text = self.raw[self.read..end.max(self.read)].trim_end();
        let piece = self.plain(tokenizer, text);
        self.read += text.len();
        let begins = self.thought.text.is_empty();
        self.thought.text.push_str(if begins { piece.trim_start() } else { &piece });
    }

    /// Takes the text up to `end` for the answer.
    fn read_answer(&mut self, tokenizer: &ChatTokenizer, end: usize) {
        let piece = self.plain(tokenizer, &self.raw[self.read..end.max(self.read)]);
        self.read = end.max(self.read);
        let begins = self.trims && self.answer.text.is_empty();
        self.answer.text.push_str(if begins { piece.trim_start() } else { &piece });
    }

    fn plain(&self, tokenizer: &ChatTokenizer, text: &str) -> String {
        if self.has_special { tokenizer.plain(text) } else { text.to_owned() }
    }

    /// The answer as it is when nothing more comes.
    ///
    /// # Errors
    /// When a token isn't one of the tokenizer.
    pub fn finish(mut self, tokenizer: &ChatTokenizer, finish: Finish) -> Result<Answer> {
        let spoken = match self.ask.max_thinking_tokens {
            Some(_) => tokenizer.spoken(&self.ask.prompt, &self.tokens)?,
            None => Spoken {
                answer: tokenizer.decode(&self.tokens)?,
                finished: true,
                ..Spoken::default()
            },
        };
        let text = match (self.cut, self.begin()) {
            (Some(cut), Some(begin)) => self.plain(tokenizer, &self.raw[begin..cut.max(begin)]),
            _ => spoken.answer,
        };
        let thought_tokens = spoken.thought_tokens;
        if !spoken.finished {
            self.scores.clear();
        } else if self.thought_tokens == 0 {
            // A thought whose begin doesn't show.
            self.scores.drain(..thought_tokens.min(self.scores.len()));
        }
        if let Some(cut) = self.cut {
            let earlier = self.tokens.len() - self.scores.len();
            let begins = |index: usize| match earlier + index {
                0 => 0,
                token => self.ends.get(token - 1).copied().unwrap_or(0),
            };
            let kept = (0..self.scores.len()).take_while(|index| begins(*index) < cut).count();
            self.scores.truncate(kept);
        }
        let rest = if self.ask.stream {
            self.rest(tokenizer, &spoken.thought, &text)
        } else {
            Delta::default()
        };
        Ok(Answer {
            thought: spoken.thought,
            text,
            finish,
            tokens: self.tokens.len(),
            thought_tokens,
            scores: self.scores,
            prompt_scores: self.prompt_scores,
            rest,
        })
    }

    /// What a stream hasn't told.
    fn rest(&mut self, tokenizer: &ChatTokenizer, thought: &Option<String>, text: &str) -> Delta {
        let answer = self.answer.rest(text).unwrap_or_else(|| {
            // A thought whose begin doesn't show has been told as the answer's begin.
            self.read_answer(tokenizer, self.cut.unwrap_or(self.raw.len()));
            self.answer.news()
        });
        let thought = thought.as_deref().and_then(|whole| self.thought.rest(whole));
        let scores = self.scores.get(self.told_scores..).unwrap_or_default().to_vec();
        Delta { thought: thought.unwrap_or_default(), answer, scores }
    }
}

/// Bytes at the end of a text that may become one of these.
fn held_back(text: &str, marks: &[String]) -> usize {
    let begun = |mark: &String| {
        let lengths = (1..mark.len()).rev().filter(|length| mark.is_char_boundary(*length));
        lengths.into_iter().find(|length| text.ends_with(&mark[..*length]))
    };
    marks.iter().filter_map(begun).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_begin_of_a_mark_is_held_back() {
        let marks = ["</think>".to_owned(), "\n\nUser:".to_owned(), "ä".to_owned()];
        for (text, held) in [("well</th", 4), ("well\n", 1), ("well", 0), ("", 0), ("</think>", 0)]
        {
            assert_eq!(held_back(text, &marks), held, "{text:?}");
        }
    }
}
