//! Tools: what may be called, and calls of them, in OpenAI's form.

use host_model::TemplateInputs;
use serde_json::{Map, Value, json};

use super::error::Result;
use super::fields::{Fields, says_nothing};
use super::shown::kind;

const A_CALL: &str = "a call {function: {name, arguments}}";

/// What a template reads beside the messages of a row.
pub(super) fn inputs(row: &mut Fields<'_>) -> Result<TemplateInputs> {
    let mut inputs = TemplateInputs::default();
    if let Some(tools) = list(row, "tools")? {
        inputs.tools = Some(tools.into_iter().map(in_openai_form).collect());
    }
    if let Some(functions) = list(row, "functions")? {
        if inputs.tools.is_some() {
            return Err(row.refused("functions", "stands beside `tools`", "keep one of the two"));
        }
        let tools = functions.into_iter();
        inputs.tools =
            Some(tools.map(|one| json!({"type": "function", "function": one})).collect());
    }
    if let Some(documents) = list(row, "documents")? {
        inputs.documents = Some(documents.into());
    }
    let name = "chat_template_kwargs";
    match row.take(name).map(|value| parsed(value, '{')) {
        None => {}
        Some(Value::Object(kwargs)) => inputs.kwargs = kwargs.into_iter().collect(),
        Some(other) => return Err(row.wrong(name, kind(&other), "an object")),
    }
    Ok(inputs)
}

/// A list of objects, or such a list as JSON text; an empty one is none.
fn list(row: &mut Fields<'_>, key: &str) -> Result<Option<Vec<Value>>> {
    let Some(value) = row.take(key).filter(|value| !says_nothing(value)) else {
        return Ok(None);
    };
    let expected = "a list of objects, or one as JSON text";
    match parsed(value, '[') {
        Value::Array(list) if list.is_empty() => Ok(None),
        Value::Array(list) => match list.iter().find(|item| !item.is_object()) {
            Some(item) => Err(row.wrong(key, format!("a list with {}", kind(item)), expected)),
            None => Ok(Some(list)),
        },
        other => Err(row.wrong(key, kind(&other), expected)),
    }
}

/// The value of JSON text that starts with `opening`; everything else as it is.
pub(super) fn parsed(value: Value, opening: char) -> Value {
    let inner = value.as_str().filter(|text| text.trim_start().starts_with(opening));
    inner.and_then(|text| serde_json::from_str(text).ok()).unwrap_or(value)
}

/// Anthropic's form of a tool in OpenAI's.
fn in_openai_form(tool: Value) -> Value {
    match tool {
        Value::Object(mut tool) if tool.contains_key("input_schema") => {
            let schema = tool.remove("input_schema");
            tool.extend(schema.map(|schema| ("parameters".to_owned(), schema)));
            json!({"type": "function", "function": tool})
        }
        other => other,
    }
}

/// The calls of an assistant: `tool_calls`, or `function_call` as OpenAI had it first.
pub(super) fn calls(message: &mut Fields<'_>) -> Result<Vec<Value>> {
    let mut calls = Vec::new();
    match message.take("tool_calls").map(|value| parsed(value, '[')) {
        None => {}
        Some(Value::Array(list)) => {
            for call in list {
                calls.push(checked(message, "tool_calls", call)?);
            }
        }
        Some(other) if says_nothing(&other) => {}
        Some(other) => return Err(message.wrong("tool_calls", kind(&other), "a list of calls")),
    }
    if let Some(call) = message.take("function_call") {
        calls.push(checked(message, "function_call", call)?);
    }
    Ok(calls)
}

/// The calls in the text of a message whose role is `function_call`: one as JSON, or a
/// list of them.
pub(super) fn calls_in_text(message: &Fields<'_>, key: &str, text: &str) -> Result<Vec<Value>> {
    let calls = match serde_json::from_str(text) {
        Ok(Value::Array(list)) => list,
        Ok(call @ Value::Object(_)) => vec![call],
        _ => return Err(message.wrong(key, "text", "a call {name, arguments} as JSON")),
    };
    calls.into_iter().map(|call| checked(message, key, call)).collect()
}

/// A call with a name and arguments, in OpenAI's form.
fn checked(message: &Fields<'_>, key: &str, call: Value) -> Result<Value> {
    let Value::Object(mut call) = parsed(call, '{') else {
        return Err(message.wrong(key, "a list with something else", A_CALL));
    };
    if !call.contains_key("function") && call.contains_key("name") {
        call = Map::from_iter([
            ("type".to_owned(), "function".into()),
            ("function".to_owned(), call.into()),
        ]);
    }
    let Some(Value::Object(function)) = call.get_mut("function") else {
        return Err(message.wrong(key, "a list with something else", A_CALL));
    };
    if !function.get("name").is_some_and(Value::is_string) {
        return Err(message.wrong(key, "a call without a name", A_CALL));
    }
    match function.get("arguments") {
        None | Some(Value::Null) => {
            function.insert("arguments".into(), json!({}));
        }
        Some(Value::Object(_)) => {}
        Some(Value::String(text)) if serde_json::from_str::<Map<String, Value>>(text).is_ok() => {}
        Some(other) => {
            let found = format!("a call whose arguments are {}", kind(other));
            let expected = "a call whose arguments are an object, or one as JSON text";
            return Err(message.wrong(key, found, expected));
        }
    }
    Ok(call.into())
}
