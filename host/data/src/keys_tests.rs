//! Keys of rows: which are read, and which are refused.

use serde_json::json;

use super::*;

/// A row of messages, given as `(role, content, further keys)`.
pub(super) fn chat(turns: &[(&str, &str, Value)]) -> Value {
    let turn = |(role, content, more): &(&str, &str, Value)| {
        let mut turn = json!({"role": role, "content": content});
        if let (Some(turn), Some(more)) = (turn.as_object_mut(), more.as_object()) {
            turn.extend(more.clone());
        }
        turn
    };
    json!({"messages": turns.iter().map(turn).collect::<Vec<_>>()})
}

fn row(value: &Value) -> Row {
    rows(&value.to_string()).unwrap().remove(0)
}

fn learned(row: &Row) -> Vec<bool> {
    row.messages.iter().map(Message::is_answer).collect()
}

#[test]
fn switches_of_trainers_decide_which_messages_are_learned() {
    for (off, on) in [
        (json!({"weight": 0}), json!({"weight": 1})),
        (json!({"weight": 0.0}), json!({"weight": 1.0})),
        (json!({"train": false}), json!({"train": true})),
        (json!({"training": false}), json!({})),
        (json!({"loss": false}), json!({"loss": null})),
        (json!({"loss_mask": 0}), json!({"loss_mask": 1})),
        (json!({"learn": false}), json!({"learn": true})),
        (json!({"trainable": false, "weight": 0}), json!({"trainable": true, "weight": 1})),
        (json!({"masked": true}), json!({"masked": false})),
        (json!({"mask": true}), json!({"mask": false})),
    ] {
        let given = chat(&[
            ("user", "a", json!({})),
            ("assistant", "b", off.clone()),
            ("user", "c", off.clone()),
            ("assistant", "d", on),
        ]);
        assert_eq!(learned(&row(&given)), [false, false, false, true], "{off}");
        assert_error(
            &chat(&[("user", "a", json!({})), ("assistant", "b", off)]).to_string(),
            &["nothing of the row is learned", "remove the row"],
        );
    }
}

#[test]
fn switches_that_cannot_be_honoured_are_refused_by_name() {
    for (role, more, parts) in [
        ("assistant", json!({"weight": 0.5}), ["`messages[1].weight` is 0.5", "round it"]),
        ("assistant", json!({"weight": "x"}), ["`messages[1].weight` is text", "1 or 0"]),
        ("assistant", json!({"mask": 1}), ["`messages[1].mask` is a number", "true or false"]),
        (
            "assistant",
            json!({"train": true, "weight": 0}),
            ["`messages[1].train` says something else than `weight`", "keep one"],
        ),
        ("user", json!({"train": true}), ["is true for a message of role user", "remove it"]),
        (
            "assistant",
            json!({"train_detail": [{"begin_offset": 0}]}),
            ["`messages[1].train_detail` says by position", "set `train`"],
        ),
        ("assistant", json!({"prefix": true}), ["`messages[1].prefix`", "whole answer"]),
        ("assistant", json!({"channel": "analysis"}), ["`messages[1].channel`", "reasoning"]),
    ] {
        let given = chat(&[
            ("user", "a", json!({})),
            (role, "b", more),
            ("assistant", "c", json!({"train_detail": [], "channel": "final"})),
        ]);
        assert_error(&given.to_string(), &parts);
    }
}

#[test]
fn what_is_not_learned_is_part_of_the_id() {
    let with = |more: Value| {
        row(&chat(&[
            ("user", "Hello?", json!({"weight": 0})),
            ("assistant", "No.", more),
            ("user", "Hello?", json!({})),
            ("assistant", "Yes.", json!({"weight": 1})),
        ]))
        .id
    };
    assert_eq!(with(json!({})), with(json!({"weight": 1})));
    assert_ne!(with(json!({})), with(json!({"weight": 0})));
    assert_ne!(with(json!({})), with(json!({"reasoning_content": "Hm."})));
    let plain = chat(&[("user", "Hello?", json!({})), ("assistant", "Yes.", json!({}))]);
    assert_eq!(row(&plain).id, GOLDEN_ID);
    for (key, value) in [
        ("tools", json!([{"name": "f"}])),
        ("documents", json!([{"text": "d"}])),
        ("chat_template_kwargs", json!({"enable_thinking": false})),
    ] {
        let mut more = plain.clone();
        more[key] = value;
        assert_ne!(row(&more).id, GOLDEN_ID, "{key}");
    }
}

#[test]
fn a_conversation_may_be_stored_key_by_key_or_as_text() {
    let list =
        json!([{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Yes."}]);
    for messages in [
        json!({"role": ["user", "assistant"], "content": ["Hello?", "Yes."]}),
        list.to_string().into(),
    ] {
        assert_eq!(row(&json!({"messages": messages})).id, GOLDEN_ID);
    }
    let uneven = json!({"messages": {"role": ["user"], "content": []}});
    assert_error(&uneven.to_string(), &["`messages` is an object but must be a list"]);
}

#[test]
fn thoughts_are_read_under_each_of_their_names() {
    let mut ids = Vec::new();
    for key in ["reasoning_content", "reasoning", "thinking"] {
        let found = row(&chat(&[("user", "a", json!({})), ("assistant", "b", json!({key: "t"}))]));
        assert_eq!(found.messages[1].reasoning.as_deref(), Some("t"));
        ids.push(found.id);
        let pair = row(&json!({"question": "a", key: "t", "answer": "b"}));
        assert_eq!(pair.id, ids[0]);
    }
    assert_eq!(ids, [ids[0]; 3]);
    assert_error(
        &json!({"question": "a", "reasoning": "t", "thinking": "u", "answer": "b"}).to_string(),
        &["`thinking` says something else than `reasoning`"],
    );
}

#[test]
fn tools_and_their_calls_are_read_in_every_form() {
    let call = json!({"type": "function", "function": {"name": "f", "arguments": {"x": 1}}});
    let schema = json!({"name": "f", "description": "d", "parameters": {"type": "object"}});
    let tools = json!([{"type": "function", "function": schema}]);
    let openai = row(&json!({
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": null, "tool_calls": [call]},
            {"role": "tool", "content": "2", "tool_call_id": "1", "name": "f"},
            {"role": "assistant", "content": "b"},
        ],
        "tools": tools,
    }));
    assert_eq!(openai.messages[1].tool_calls, std::slice::from_ref(&call));
    assert_eq!(openai.messages[2].tool_call_id.as_deref(), Some("1"));
    assert_eq!(openai.inputs.tools, Some(tools.clone()));
    let share_gpt = row(&json!({
        "conversations": [
            {"from": "human", "value": "a"},
            {"from": "function_call", "value": "{\"name\": \"f\", \"arguments\": {\"x\": 1}}"},
            {"from": "observation", "value": "2"},
            {"from": "gpt", "value": "b"},
        ],
        "tools": tools.to_string(),
    }));
    assert_eq!(share_gpt.messages[1].tool_calls, std::slice::from_ref(&call));
    assert_eq!(share_gpt.messages[2].role, "tool");
    assert_eq!(share_gpt.inputs.tools, Some(tools.clone()));
    let anthropic = row(&json!({
        "system": [{"type": "text", "text": "s"}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {}}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "t", "signature": "x"},
                {"type": "tool_use", "id": "1", "name": "f", "input": {"x": 1}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "1", "content": "2"},
            ]},
            {"role": "assistant", "content": [{"type": "text", "text": "b"}]},
        ],
        "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}],
    }));
    let roles: Vec<&str> = anthropic.messages.iter().map(|one| one.role.as_str()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "tool", "assistant"]);
    assert_eq!(anthropic.messages[2].tool_calls[0]["function"], call["function"]);
    assert_eq!(anthropic.messages[2].reasoning.as_deref(), Some("t"));
    assert_eq!(anthropic.messages[3].tool_call_id.as_deref(), Some("1"));
    assert_eq!(anthropic.inputs.tools, Some(tools.clone()));
    let first = row(&json!({
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "function_call": {"name": "f", "arguments": "{\"x\": 1}"}},
            {"role": "function", "name": "f", "content": "2"},
            {"role": "assistant", "content": "b"},
        ],
        "functions": [schema],
    }));
    assert_eq!(first.messages[1].tool_calls[0]["function"]["name"], "f");
    assert_eq!(first.inputs.tools, Some(tools));
    for (call, part) in [
        (json!({"function": {"arguments": {}}}), "a call without a name"),
        (json!({"function": {"name": "f", "arguments": "x"}}), "arguments are text"),
        (json!(3), "a list with something else"),
    ] {
        let given = json!({"messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "tool_calls": [call]},
        ]});
        assert_error(&given.to_string(), &["`messages[1].tool_calls`", part]);
    }
}

#[test]
fn a_context_joins_the_question_in_every_shape() {
    for given in [
        json!({"question": "q", "context": "c", "answer": "a"}),
        json!({"prompt": "q", "context": "c", "completion": "a"}),
        json!({"instruction": "q", "context": "c", "response": "a", "category": "closed_qa"}),
        json!({"query": "q", "input": "c", "response": "a"}),
        json!({"question": "q", "context": ["c"], "answer": "a"}),
    ] {
        assert_eq!(turns(&row(&given)), [("user", "q\n\nc"), ("assistant", "a")], "{given}");
    }
    let prompt = &prompts(r#"{"question": "q", "context": "c"}"#).unwrap()[0];
    assert_eq!(prompt.messages[0].content, "q\n\nc");
    assert_error(
        &json!({"question": "q", "context": {"a": 1}, "answer": "a"}).to_string(),
        &["`context` is an object but must be text"],
    );
}

#[test]
fn a_history_becomes_earlier_turns() {
    let given = json!({
        "system": "s", "instruction": "q", "input": "c", "output": "a",
        "history": [["q1", "a1"], ["q2", "a2"]],
    });
    assert_eq!(
        turns(&row(&given)),
        [
            ("system", "s"),
            ("user", "q1"),
            ("assistant", "a1"),
            ("user", "q2"),
            ("assistant", "a2"),
            ("user", "q\n\nc"),
            ("assistant", "a"),
        ]
    );
    let plain = json!({"instruction": "q", "output": "a", "history": []});
    assert_eq!(turns(&row(&plain)).len(), 2);
    let flat = json!({"instruction": "q", "output": "a", "history": ["x"]});
    assert_error(&flat.to_string(), &["`history` is a list of text", "[question, answer] pairs"]);
}

#[test]
fn keys_that_change_the_meaning_of_a_row_are_refused_by_name() {
    let pair = |key: &str, value: Value| json!({"prompt": "q", "answer": "a", key: value});
    for (given, parts) in [
        (
            json!({"prompt": "q", "chosen": "a", "rejected": "b"}),
            ["`chosen` belongs to preference", "completion"],
        ),
        (pair("weight", json!(0.2)), ["`weight` weights the row", "set it to 1"]),
        (pair("label", json!(false)), ["`label` is false", "remove the row"]),
        (pair("split", json!("test")), ["`split` is test", "remove the row"]),
        (pair("images", json!(["a.png"])), ["`images` isn't text", "remove the row"]),
        (pair("completion_mask", json!([0, 1])), ["`completion_mask` says by position", "`train`"]),
        (
            json!({"question": "q", "answers": {"text": ["a"]}}),
            ["`answers` isn't one answer", "`answer`"],
        ),
        (json!({"text": "a"}), ["plain text has no answer", "divide it"]),
        (json!({"data": [{"prompt": "q"}]}), ["under `data`", "write that list alone"]),
        (
            json!({"dialogue": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}),
            ["under `dialogue`", "rename it to `messages`"],
        ),
        (
            json!({"turns": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}),
            ["under `turns`", "rename it to `conversations`"],
        ),
        (
            json!({"messages": [["user", "q"]]}),
            ["`messages[0]` is a list", "an object with role and content"],
        ),
    ] {
        assert_error(&given.to_string(), &parts);
    }
    for harmless in [
        ("weight", json!(1)),
        ("images", json!([])),
        ("label", json!(1)),
        ("split", json!("train")),
    ] {
        row(&pair(harmless.0, harmless.1));
    }
    let twice = json!({"system": "s", "messages": [
        {"role": "system", "content": "t"}, {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
    ]});
    assert_error(&twice.to_string(), &["`system` says something else", "keep one"]);
    // Evaluation asks the prompt alone.
    assert!(prompts(r#"{"prompt": "q", "chosen": "a", "rejected": "b", "label": false}"#).is_ok());
}
