//! The host's side of `tests/transformers/oracle.py`, which compares it with Python's transformers: reads JSON lines
//! of a template with conversations and writes for each what the host renders, as JSON lines.
//!
//!     {"tokenizer": FOLDER, "template": TEXT, "date": "2026-03-05", "chats": [{"messages": […], "tools": …,
//!      "documents": …, "kwargs": {…}, "prompt": false}, …]}
//!
//! or of a tokenizer's folder with texts, `{"tokenizer": FOLDER, "texts": [TEXT, …]}`, whose answer is one line of `ids`,
//! a list per text, and `stop`, the ids that end an answer.
//!
//! An answer is one line per chat: `text` and `ids` as rendered; `tokens`, `answers` and `thoughts` as trained on, for
//! a chat that is no prompt; and `error` or `untrained` where it can't be.

use std::io::{BufRead, Write};
use std::path::Path;

use host_model::chat::Moment;
use host_model::tokenizer::SIDE_FILES;
use host_model::{Chat, ChatTokenizer, Error, Message, TemplateInputs, TemplateOptions};
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let asked: Value = serde_json::from_str(&line?)?;
        let tokenizer = tokenizer(&asked);
        if let Some(texts) = asked["texts"].as_array() {
            let answer = tokenizer.and_then(|tokenizer| ids(&tokenizer, texts));
            writeln!(out, "{}", answer.unwrap_or_else(failed))?;
            continue;
        }
        for chat in asked["chats"].as_array().into_iter().flatten() {
            let answer = match &tokenizer {
                Ok(tokenizer) => answer(tokenizer, chat).unwrap_or_else(failed),
                Err(error) => json!({"error": error.to_string()}),
            };
            writeln!(out, "{answer}")?;
        }
    }
    Ok(())
}

fn ids(tokenizer: &ChatTokenizer, texts: &[Value]) -> Outcome<Value> {
    let texts = texts.iter().map(|text| text.as_str().unwrap_or_default());
    let ids: Vec<Vec<u32>> = texts.map(|text| tokenizer.encode(text)).collect::<Result<_, _>>()?;
    Ok(json!({"ids": ids, "stop": tokenizer.stop_tokens()}))
}

fn failed(error: Box<dyn std::error::Error>) -> Value {
    json!({ "error": error.to_string() })
}

fn tokenizer(asked: &Value) -> Outcome<ChatTokenizer> {
    let folder = Path::new(asked["tokenizer"].as_str().unwrap_or_default());
    let names = SIDE_FILES.into_iter().chain(["tokenizer.json"]);
    let files = names.filter_map(|name| {
        std::fs::read(folder.join(name)).ok().map(|bytes| (name.to_owned(), bytes))
    });
    let date = asked["date"].as_str().and_then(Moment::parse);
    let options = TemplateOptions { date, ..TemplateOptions::default() };
    let tokenizer = ChatTokenizer::from_files(files.collect(), folder, &[])?;
    Ok(tokenizer.with_template(&options, asked["template"].as_str())?)
}

fn answer(tokenizer: &ChatTokenizer, chat: &Value) -> Outcome<Value> {
    let messages: Vec<Message> = serde_json::from_value(chat["messages"].clone())?;
    let given = |key: &str| chat.get(key).filter(|value| !value.is_null()).cloned();
    let kwargs = given("kwargs").map(serde_json::from_value).transpose()?.unwrap_or_default();
    let inputs = TemplateInputs { tools: given("tools"), documents: given("documents"), kwargs };
    let chat_of = |messages| Chat { messages, inputs: &inputs };
    let is_prompt = chat["prompt"].as_bool().unwrap_or_default();
    let text = tokenizer.render(chat_of(&messages), is_prompt)?;
    let mut answer = json!({"ids": tokenizer.encode(&text)?, "text": text});
    if is_prompt {
        return Ok(answer);
    }
    match tokenizer.encode_chat(chat_of(&messages)) {
        Ok(encoded) => {
            answer["tokens"] = json!(encoded.tokens);
            answer["answers"] = json!(encoded.answer);
            answer["thoughts"] = json!([encoded.thoughts.emptied, encoded.thoughts.earlier]);
        }
        Err(error @ Error::Template { .. }) => answer["untrained"] = json!(error.to_string()),
        Err(error) => return Err(error.into()),
    }
    Ok(answer)
}
