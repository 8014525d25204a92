//! Answers cut after every so many words, for policies that weigh tokens one by one.
//!
//! Words are what white space divides. A token belongs to the prefix in which its text
//! begins, and the tokens that end the turn to the last one, so the last prefix of each
//! answer is all of it.

use host_data::failure::Result;
use host_data::{Message, Sample};
use host_model::{ChatTokenizer, Utterance};

use super::Pair;

/// A prefix of an answer.
pub struct Prefix<'a> {
    pub pair: Pair<'a>,
    /// Tokens up to its end, among the answer tokens of the sample.
    pub end: u32,
}

/// The prefixes of a sample's answers after every `words` words, in order. One in which
/// no token begins is left out, so `end` ascends and ends with the sample's answer tokens.
///
/// `spoken`: what each of the sample's messages says. A prefix has the thought before the words,
/// and the last one the calls behind them.
pub fn prefixes<'a>(
    sample: &'a Sample,
    spoken: &'a [Utterance<'a>],
    words: u32,
    tokenizer: &ChatTokenizer,
) -> Result<Vec<Prefix<'a>>> {
    let starts = tokenizer.answer_starts(sample.chat())?;
    let answers = sample.answer.iter().zip(answers(&sample.messages, spoken)).zip(&starts);
    let (mut prefixes, mut before) = (Vec::new(), 0);
    for ((tokens, (messages, spoken)), starts) in answers {
        let text = &spoken.text[spoken.said.clone()];
        // Fewer than the text has, if the sample was cut.
        let starts = &starts[..tokens.len().min(starts.len())];
        let mut last = 0;
        for cut in cuts(text, words) {
            let end = if cut == text.len() {
                tokens.len()
            } else {
                starts.partition_point(|start| *start < cut)
            };
            if end > last {
                last = end;
                let pair = Pair { messages, answer: up_to(spoken, cut) };
                prefixes.push(Prefix { pair, end: (before + end) as u32 });
            }
        }
        before += tokens.len();
    }
    Ok(prefixes)
}

/// The prefixes of all answers of a conversation, whatever its tokens are.
pub fn texts<'a>(
    messages: &'a [Message],
    spoken: &'a [Utterance<'a>],
    words: u32,
) -> impl Iterator<Item = Pair<'a>> {
    answers(messages, spoken).flat_map(move |(messages, spoken)| {
        let cuts = cuts(&spoken.text[spoken.said.clone()], words).into_iter();
        cuts.map(move |cut| Pair { messages, answer: up_to(spoken, cut) })
    })
}

/// Every answer with what was said before it.
fn answers<'a>(
    messages: &'a [Message],
    spoken: &'a [Utterance<'a>],
) -> impl Iterator<Item = (&'a [Message], &'a Utterance<'a>)> {
    let all = messages.iter().zip(spoken).enumerate();
    all.filter(|(_, (message, _))| message.is_answer())
        .map(|(index, (_, spoken))| (&messages[..index], spoken))
}

/// What is said up to this byte of the words, and all of it if they end there.
fn up_to<'a>(spoken: &'a Utterance<'_>, cut: usize) -> &'a str {
    match spoken.said.start + cut {
        end if end == spoken.said.end => &spoken.text,
        end => &spoken.text[..end],
    }
}

/// The bytes after which a text is cut: the ends of every `words`th word, and its own.
fn cuts(text: &str, words: u32) -> Vec<usize> {
    let (mut cuts, mut seen, mut at) = (Vec::new(), 0, 0);
    for piece in text.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end();
        seen += u32::from(!word.is_empty());
        if !word.is_empty() && seen.is_multiple_of(words.max(1)) {
            cuts.push(at + word.len());
        }
        at += piece.len();
    }
    match cuts.last_mut() {
        // Nothing but white space follows.
        Some(last) if text[*last..].trim().is_empty() => *last = text.len(),
        _ => cuts.push(text.len()),
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;
    use host_data::demo;
    use host_data::{Overlong, encode_chats, parse_rows};

    #[test]
    fn a_text_is_cut_after_every_so_many_words() {
        assert_eq!(cuts("one two three", 2), [7, 13]);
        assert_eq!(cuts("one  two\nthree four ", 2), [8, 20]);
        assert_eq!(cuts("one", 5), [3]);
        assert_eq!(cuts("  ", 1), [2]);
        assert_eq!(cuts("größe zwei", 1), [7, 12]);
    }

    fn sample(model: &host_model::Model, messages: serde_json::Value, limit: usize) -> Sample {
        let row = serde_json::json!({ "messages": messages }).to_string();
        let rows = parse_rows("x.jsonl".as_ref(), row.into_bytes()).expect("rows");
        let encoded = encode_chats(&rows, limit, Overlong::Answer, &model.tokenizer);
        encoded.expect("encoded").samples.remove(0)
    }

    #[test]
    fn the_tokens_of_a_prefix_are_those_of_its_words() {
        let model = demo::model();
        let sample = sample(
            &model,
            serde_json::json!([
                {"role": "user", "content": "Say it."},
                {"role": "assistant", "content": "one two three"},
                {"role": "user", "content": "Again."},
                {"role": "assistant", "content": " Sure, here is how: four  five six. "},
            ]),
            1000,
        );
        let tokenizer = &model.tokenizer;
        let said: Vec<_> = sample.messages.iter().map(Message::utterance).collect();
        let found = prefixes(&sample, &said, 2, tokenizer).expect("cut");
        let texts: Vec<&str> = found.iter().map(|prefix| prefix.pair.answer).collect();
        let want = [
            "one two",
            "one two three",
            " Sure, here",
            " Sure, here is how:",
            " Sure, here is how: four  five",
            " Sure, here is how: four  five six. ",
        ];
        assert_eq!(texts, want);
        let before: Vec<usize> = found.iter().map(|it| it.pair.messages.len()).collect();
        assert_eq!(before, [1, 1, 3, 3, 3, 3]);

        // The tokens up to each end say the prefix and nothing more.
        let first = sample.answer[0].len();
        let all = sample.answer.iter().cloned().flatten();
        let all: Vec<u32> = all.map(|at| sample.tokens[at]).collect();
        for (prefix, text) in found.iter().zip(want) {
            let end = prefix.end as usize;
            let begin = if prefix.pair.messages.len() == 1 { 0 } else { first };
            let said = tokenizer.decode(&all[begin..end]).expect("decoded");
            assert_eq!(said.trim(), text.trim());
        }
        assert_eq!(found[1].end as usize, first);
        assert_eq!(found[5].end as usize, all.len());
        assert!(found.windows(2).all(|pair| pair[0].end < pair[1].end));
    }

    #[test]
    fn a_sample_that_was_cut_ends_with_the_prefix_of_its_last_token() {
        let model = demo::model();
        let messages = serde_json::json!([
            {"role": "user", "content": "Say it."},
            {"role": "assistant", "content": "one two three four five six seven eight"},
        ]);
        let whole = sample(&model, messages.clone(), 1000);
        let limit = whole.prompt_len + 3;
        let cut = sample(&model, messages, limit);
        assert_eq!(cut.answer_tokens(), 3);
        let said: Vec<_> = cut.messages.iter().map(Message::utterance).collect();
        let found = prefixes(&cut, &said, 1, &model.tokenizer).expect("cut");
        assert_eq!(found.last().expect("one").end, 3);
        assert!(found.len() <= 3);
    }

    #[test]
    fn thoughts_and_calls_are_judged_with_the_words() {
        let call = |what: &str| serde_json::json!({"type": "function", "function": {"name": "run", "arguments": {"what": what}}});
        let row = |answer: serde_json::Value| {
            let row = serde_json::json!({"messages": [{"role": "user", "content": "Go."}, answer]});
            parse_rows("x.jsonl".as_ref(), row.to_string().into_bytes()).expect("rows").remove(0)
        };
        let texts = |answer: serde_json::Value| {
            let row = row(answer);
            let said: Vec<_> = row.messages.iter().map(Message::utterance).collect();
            let cut = super::texts(&row.messages, &said, 1).map(|pair| pair.answer.to_owned());
            let last = crate::step::last_answer(&row.messages, &said).answer.to_owned();
            cut.chain([last]).collect::<Vec<_>>()
        };
        let thought = ["Hm, so.\n\nyes", "Hm, so.\n\nyes sir", "Hm, so.\n\nyes sir"];
        let inline =
            serde_json::json!({"role": "assistant", "content": "<think>Hm, so.</think>yes sir"});
        assert_eq!(texts(inline), thought);
        let apart = serde_json::json!({"role": "assistant", "content": "yes sir", "reasoning_content": "Hm, so."});
        assert_eq!(texts(apart), thought);
        let calls = texts(
            serde_json::json!({"role": "assistant", "content": null, "tool_calls": [call("x"), call("y")]}),
        );
        let (name, x, y) = ("\"name\":\"run\"", "\"what\":\"x\"", "\"what\":\"y\"");
        assert!(
            calls.iter().all(|it| [name, x, y].iter().all(|part| it.contains(part))),
            "{calls:?}"
        );
        let beside =
            serde_json::json!({"role": "assistant", "content": "go on", "tool_calls": [call("x")]});
        let beside = texts(beside);
        assert!(beside[0] == "go" && beside[1] == beside[2] && beside[1].contains(x), "{beside:?}");
    }
}
