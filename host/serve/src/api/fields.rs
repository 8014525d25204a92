//! The fields of a request, taken one by one: what is wrong is told to the client, what isn't served is refused, and
//! what nobody knows is counted.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::error::ApiError;

/// A field that means something and isn't served.
struct Refused {
    name: &'static str,
    /// Whether a value changes nothing.
    is_neutral: fn(&Value) -> bool,
    /// What to do instead.
    remedy: &'static str,
}

fn is_zero(value: &Value) -> bool {
    value.as_f64() == Some(0.0)
}

fn is_one(value: &Value) -> bool {
    value.as_f64() == Some(1.0)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

fn is_off(value: &Value) -> bool {
    *value == Value::Bool(false)
}

fn is_on(value: &Value) -> bool {
    *value == Value::Bool(true)
}

fn is_text(value: &Value) -> bool {
    value["type"] == "text"
}

fn is_text_alone(value: &Value) -> bool {
    value.as_array().is_some_and(|kinds| kinds.iter().all(|kind| kind == "text"))
}

fn never(_: &Value) -> bool {
    false
}

const LEAVE_OUT: &str = "leave it out";

const fn refused(
    name: &'static str,
    is_neutral: fn(&Value) -> bool,
    remedy: &'static str,
) -> Refused {
    Refused { name, is_neutral, remedy }
}

/// Fields of the API and of servers like it that change an answer, and that no answer here is changed by.
const REFUSED: &[Refused] = &[
    refused("logit_bias", is_empty, LEAVE_OUT),
    refused("frequency_penalty", is_zero, "leave it out, or give 0"),
    refused("presence_penalty", is_zero, "leave it out, or give 0"),
    refused("repetition_penalty", is_one, "leave it out, or give 1"),
    refused("length_penalty", is_one, "leave it out, or give 1"),
    refused("min_p", is_zero, "leave it out, or give 0; top_p and top_k are served"),
    refused("best_of", is_one, "ask for n answers and choose among them"),
    refused("use_beam_search", is_off, LEAVE_OUT),
    refused("suffix", is_empty, LEAVE_OUT),
    refused("functions", is_empty, "give `tools`, which the chat template is told"),
    refused("function_call", |value| value == "none" || value == "auto", LEAVE_OUT),
    refused("response_format", is_text, "ask for the format in a message"),
    refused("structured_outputs", is_empty, "ask for the format in a message"),
    refused("guided_json", never, "ask for the format in a message"),
    refused("guided_regex", never, "ask for the format in a message"),
    refused("guided_choice", never, "ask for the format in a message"),
    refused("guided_grammar", never, "ask for the format in a message"),
    refused("grammar", is_empty, "ask for the format in a message"),
    refused("json_schema", is_empty, "ask for the format in a message"),
    refused("modalities", is_text_alone, "only text is served"),
    refused("audio", never, "only text is served"),
    refused("prediction", never, LEAVE_OUT),
    refused("web_search_options", never, LEAVE_OUT),
    refused(
        "reasoning_effort",
        never,
        "give what the chat template reads in `chat_template_kwargs`",
    ),
    refused("verbosity", |value| value == "medium", LEAVE_OUT),
    refused("min_tokens", is_zero, LEAVE_OUT),
    refused("ignore_eos", is_off, LEAVE_OUT),
    refused("stop_token_ids", is_empty, "give texts in `stop`"),
    refused("bad_words", is_empty, LEAVE_OUT),
    refused("include_stop_str_in_output", is_off, LEAVE_OUT),
    refused("skip_special_tokens", is_on, LEAVE_OUT),
    refused("prompt_logprobs", never, "POST /v1/completions with `echo` and `logprobs`"),
    refused("chat_template", never, "start the server with --chat-template FILE"),
];

/// Fields that change no answer: about the client, or about how somebody else's service bills and keeps it.
const HARMLESS: &[&str] = &[
    "user",
    "metadata",
    "store",
    "service_tier",
    "parallel_tool_calls",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
];

/// Fields that are left to take.
pub struct Fields {
    map: Map<String, Value>,
    /// What nobody reads, by name.
    pub ignored: BTreeSet<String>,
}

impl Fields {
    /// Of the body of a request.
    ///
    /// # Errors
    /// [`ApiError`] for what is no JSON object.
    pub fn read(body: &[u8]) -> Result<Self, ApiError> {
        let map = match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => map,
            Ok(_) => return Err(ApiError::invalid("the body is no JSON object; send one")),
            Err(error) => {
                return Err(ApiError::invalid(format!(
                    "the body is no JSON ({error}); correct it"
                )));
            }
        };
        Ok(Self { map, ignored: BTreeSet::new() })
    }

    /// The value of a field; null is none.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name).filter(|value| !value.is_null())
    }

    /// A number between two others.
    ///
    /// # Errors
    /// [`ApiError`] for anything else.
    pub fn number(&mut self, name: &str, least: f64, most: f64) -> Result<Option<f64>, ApiError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match value.as_f64().filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(ApiError::field(name, format!("must be a number from {least} to {most}"))),
        }
    }

    /// A whole number of at most `most`.
    ///
    /// # Errors
    /// [`ApiError`] for anything else.
    pub fn count(
        &mut self,
        name: &str,
        least: usize,
        most: usize,
    ) -> Result<Option<usize>, ApiError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let whole = value.as_f64().filter(|number| number.fract() == 0.0 && *number >= 0.0);
        match whole.map(|number| number as usize).filter(|it| (least..=most).contains(it)) {
            Some(number) => Ok(Some(number)),
            None => {
                Err(ApiError::field(name, format!("must be a whole number from {least} to {most}")))
            }
        }
    }

    /// A seed: any whole number of 64 bits.
    ///
    /// # Errors
    /// [`ApiError`] for anything else.
    pub fn seed(&mut self) -> Result<Option<u64>, ApiError> {
        let Some(value) = self.take("seed") else { return Ok(None) };
        let seed = value.as_u64().or_else(|| value.as_i64().map(i64::cast_unsigned));
        match seed {
            Some(seed) => Ok(Some(seed)),
            None => Err(ApiError::field("seed", "must be a whole number of 64 bits")),
        }
    }

    /// Yes or no; no where it isn't there.
    ///
    /// # Errors
    /// [`ApiError`] for anything else.
    pub fn flag(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(ApiError::field(name, "must be true or false")),
        }
    }

    /// One text or a list of them.
    ///
    /// # Errors
    /// [`ApiError`] for anything else, for an empty text, and for more than `most` texts.
    pub fn texts(
        &mut self,
        name: &str,
        most: usize,
        longest: usize,
    ) -> Result<Vec<String>, ApiError> {
        let list = match self.take(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(one) => vec![one],
        };
        if list.len() > most {
            return Err(ApiError::field(name, format!("has more than {most} texts")));
        }
        let text = |value: Value| match value {
            Value::String(text) if !text.is_empty() && text.len() <= longest => Ok(text),
            _ => Err(ApiError::field(
                name,
                format!("must be a text or a list of texts, each of 1 to {longest} bytes"),
            )),
        };
        list.into_iter().map(text).collect()
    }

    /// Takes these fields into an object of their own.
    pub fn part(&mut self, names: &[&str]) -> Map<String, Value> {
        let taken = names.iter().filter_map(|name| Some(((*name).to_owned(), self.take(name)?)));
        taken.collect()
    }

    /// The names of what nobody took and nobody needs to take.
    ///
    /// # Errors
    /// [`ApiError`] for a field that means something and isn't served.
    pub fn finish(mut self) -> Result<BTreeSet<String>, ApiError> {
        for refused in REFUSED {
            if let Some(value) = self.take(refused.name)
                && !(refused.is_neutral)(&value)
            {
                return Err(ApiError::unsupported(refused.name, refused.remedy));
            }
        }
        let left = self.map.into_iter().filter(|(_, value)| !value.is_null());
        let left = left.map(|(name, _)| name).filter(|name| !HARMLESS.contains(&name.as_str()));
        self.ignored.extend(left);
        Ok(self.ignored)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn fields(value: &Value) -> Fields {
        Fields::read(value.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn what_changes_an_answer_is_refused_and_what_changes_none_is_not() {
        let neutral = json!({
            "logit_bias": {}, "frequency_penalty": 0, "presence_penalty": 0.0, "best_of": 1,
            "response_format": {"type": "text"}, "functions": [], "modalities": ["text"], "user": "a", "suffix": null,
            "min_p": 0, "repetition_penalty": 1.0,
        });
        assert!(fields(&neutral).finish().unwrap().is_empty());
        for (name, value) in [
            ("logit_bias", json!({"50256": -100})),
            ("frequency_penalty", json!(0.5)),
            ("response_format", json!({"type": "json_schema", "json_schema": {}})),
            ("guided_json", json!({})),
            ("ignore_eos", json!(true)),
            ("chat_template", json!("{{ messages }}")),
        ] {
            let error = fields(&json!({name: value})).finish().unwrap_err();
            assert_eq!(
                (error.param.as_deref(), error.code),
                (Some(name), Some("unsupported_parameter"))
            );
        }
        let unknown = fields(&json!({"frobnicate": 1, "store": true, "nothing": null})).finish();
        assert_eq!(unknown.unwrap().into_iter().collect::<Vec<_>>(), ["frobnicate"]);
    }

    #[test]
    fn values_out_of_range_are_named() {
        let wrong =
            json!({"temperature": 3, "n": 1.5, "seed": "a", "stream": 1, "stop": ["a", ""]});
        let message = |found: Result<(), ApiError>| found.unwrap_err().message;
        let mut all = fields(&wrong);
        assert_eq!(
            message(all.number("temperature", 0.0, 2.0).map(drop)),
            "`temperature` must be a number from 0 to 2"
        );
        assert_eq!(
            message(all.count("n", 1, 9).map(drop)),
            "`n` must be a whole number from 1 to 9"
        );
        assert!(message(all.seed().map(drop)).starts_with("`seed`"));
        assert!(message(all.flag("stream").map(drop)).starts_with("`stream`"));
        assert!(message(all.texts("stop", 4, 9).map(drop)).starts_with("`stop`"));
        assert_eq!(fields(&json!({"seed": -1})).seed().unwrap(), Some(u64::MAX));
        assert_eq!(fields(&json!({"n": 2.0})).count("n", 1, 9).unwrap(), Some(2));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for body in ["", "[]", "{\"a\": ", "7", &"[".repeat(5000)] {
            assert!(Fields::read(body.as_bytes()).is_err(), "{body:.20}");
        }
    }
}
