#![allow(clippy::unwrap_used)]
use serde_json::json;

use super::*;
use crate::message::{Message, TemplateInputs};

fn template(text: &str) -> ChatTemplate {
    let date = Moment::parse("2026-03-05");
    ChatTemplate::new(text, &TemplateOptions { date, ..TemplateOptions::default() }).unwrap()
}

fn render(text: &str, messages: &[Message], prompt: bool) -> Result<String> {
    let special =
        SpecialTokens { bos: "<s>".into(), eos: "</s>".into(), ..SpecialTokens::default() };
    let template = ChatTemplate::new(text, &TemplateOptions::default())?;
    template.render(messages, prompt, &special).map(|rendered| rendered.text)
}

#[test]
fn blocks_are_trimmed_and_python_methods_work() {
    let template = "{{ bos_token }}{% for m in messages %}\n    {% if m['role'].upper() == 'USER' %}\nU: {{ m.content.strip() }}\n    {% endif %}\n{% endfor %}\n{% if add_generation_prompt %}A:{% endif %}";
    let text = render(template, &[Message::user("  hi ")], true).unwrap();
    assert_eq!(text, "<s>U: hi\nA:");
}

#[test]
fn a_template_reads_everything_that_a_row_carries() {
    let text = "{{ tools[0].name }},{{ documents | length }},{{ enable_thinking }}{% for m in messages %},{{ m.reasoning_content }},{{ m.thinking }},{{ m.tool_calls[0].function.name }},{{ m.name }},{{ m.tool_call_id }}{% endfor %}";
    let message = Message {
        reasoning: Some("r".into()),
        tool_calls: vec![json!({"function": {"name": "f"}})],
        name: Some("n".into()),
        tool_call_id: Some("1".into()),
        ..Message::assistant("x")
    };
    let inputs = TemplateInputs {
        tools: Some(json!([{"name": "t"}])),
        documents: Some(json!([{}, {}])),
        kwargs: [("enable_thinking".to_owned(), "off".into())].into(),
    };
    let chat = Chat { messages: &[message], inputs: &inputs };
    let rendered = template(text).render(chat, false, &SpecialTokens::default());
    assert_eq!(rendered.unwrap().text, "t,2,off,r,r,f,n,1");
}

#[test]
fn what_a_row_does_not_have_is_none_to_tools_and_documents_and_else_undefined() {
    let text = "{% if tools is not none %}T{% endif %}{% if documents is defined %}D{% endif %}{% if enable_thinking is defined %}E{% endif %}{% if messages[0].reasoning_content is defined %}R{% endif %}";
    assert_eq!(render(text, &[Message::user("x")], false).unwrap(), "D");
}

#[test]
fn a_rows_arguments_win_over_the_configurations() {
    let arguments = [("a".to_owned(), json!(1)), ("b".to_owned(), json!(false))].into();
    let options = TemplateOptions { arguments, ..TemplateOptions::default() };
    let template = ChatTemplate::new("{{ a }}{{ b }}", &options).unwrap();
    let inputs = TemplateInputs {
        kwargs: [("a".to_owned(), json!("x"))].into(),
        ..TemplateInputs::default()
    };
    let chat = Chat { messages: &[], inputs: &inputs };
    let rendered = template.render(chat, false, &SpecialTokens::default());
    assert_eq!(rendered.unwrap().text, "xFalse");
}

#[test]
fn a_template_may_refuse() {
    let template = "{% if messages[0].role == 'system' %}{{ raise_exception('no\tsystem role') }}{% endif %}ok";
    assert_eq!(render(template, &[Message::user("x")], false).unwrap(), "ok");
    let error = render(template, &[Message::new("system", "x")], false).unwrap_err().to_string();
    assert!(error.contains("no system role") && error.contains("--chat-template"), "{error}");
}

#[test]
fn broken_templates_name_the_line() {
    let error = ChatTemplate::new("a\n{% if %}", &TemplateOptions::default());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("line 2"), "{error}");
}

#[test]
fn a_template_that_does_not_end_is_refused() {
    let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}";
    let error = render(endless, &[], false).unwrap_err().to_string();
    assert!(error.contains("3000000 instructions"), "{error}");
    let vast = "{{ ('x' * 100000) * 100000 }}";
    assert!(render(vast, &[], false).is_err());
}

#[test]
fn json_is_written_as_python_does() {
    for (expression, text) in [
        ("{'a': [1, 'ü<b>'], 'b': true} | tojson", r#"{"a": [1, "ü<b>"], "b": true}"#),
        ("[1] | tojson(indent=2)", "[\n  1\n]"),
        ("{'a': [], 'b': {}} | tojson(indent=2)", "{\n  \"a\": [],\n  \"b\": {}\n}"),
        ("[[1], {'a': 1}] | tojson(indent=1)", "[\n [\n  1\n ],\n {\n  \"a\": 1\n }\n]"),
        ("'é😀' | tojson(ensure_ascii=True)", r#""\u00e9\ud83d\ude00""#),
        ("{'b': 1, 'a': 2} | tojson(sort_keys=true)", r#"{"a": 2, "b": 1}"#),
        ("{'b': [1, 2]} | tojson(separators=(',', ':'))", r#"{"b":[1,2]}"#),
        ("1e16 | tojson", "1e+16"),
        ("none | tojson", "null"),
    ] {
        assert_eq!(render(&format!("{{{{ {expression} }}}}"), &[], false).unwrap(), text);
    }
    assert!(render("{{ missing | tojson }}", &[], false).is_err());
    assert!(render("{{ 1 | tojson(ident=2) }}", &[], false).is_err());
}

#[test]
fn generation_blocks_are_found_and_have_a_scope_of_their_own() {
    let text = "{%- set ns = namespace(n=0) -%}{%- for m in messages -%}{% set x = 'o' %}{%- set ns.n = ns.n + 1 -%}<{% generation -%}{% set x = 'i' %}{{ loop.index ~ m.content ~ x }}{%- endgeneration %}{{ x }}>{%- if ns.n == 2 %}{% break %}{% endif %}{%- endfor -%}{{ ns.n }}";
    let messages = [Message::user("é"), Message::user("y"), Message::user("z")];
    let rendered = template(text).render(&messages, false, &SpecialTokens::default()).unwrap();
    assert_eq!(rendered.text, "<1éio><2yio>2");
    let spans: Vec<&str> = rendered.generated.iter().map(|it| &rendered.text[it.clone()]).collect();
    assert_eq!(spans, ["1éi", "2yi"]);
}

#[test]
fn a_generation_block_sees_what_is_around_it() {
    let text = "{% set all = messages %}{% for m in all %}{% generation %}{% if true %}{% set f = namespace(x=false) %}{% for n in all[loop.index:] %}{% if n.role == 'assistant' %}{% set f.x = true %}{% endif %}{% endfor %}{{ f.x }}{% endif %}{% endgeneration %};{% endfor %}";
    let messages = [Message::user("a"), Message::assistant("b")];
    assert_eq!(render(text, &messages, false).unwrap(), "True;False;");
}

#[test]
fn python_slices_and_methods_of_real_templates_work() {
    let template = "{%- for m in messages[::-1] %}{{ m.content.split('</think>')[-1].lstrip('\\n') }}{{ m.content is string }}{{ m.content.startswith('a') }},{% endfor %}{{ messages[1:] | length }}{{ (messages | last).content | trim }}";
    let messages = [Message::user("a"), Message::assistant("x</think>\n b ")];
    assert_eq!(
        render(template, &messages, false).unwrap(),
        " b TrueFalse,aTrueTrue,1x</think>\n b"
    );
}

#[test]
fn the_date_is_the_one_given_and_else_the_clocks() {
    let text = "{{ strftime_now('%-d %B %Y') }}";
    let rendered = template(text).render(&[], false, &SpecialTokens::default()).unwrap();
    assert_eq!(rendered.text, "5 March 2026");
    assert_eq!(template(text).moment(), Moment::parse("2026-03-05"));
    assert_eq!(template("strftime").moment(), None);
    let now = ChatTemplate::new(text, &TemplateOptions::default()).unwrap().moment().unwrap();
    assert!(now.to_string().len() == 10 && now.to_string().as_str() > "2026", "{now}");
}

#[test]
fn messages_are_given_in_the_form_that_a_template_takes() {
    let parts = Message {
        content: crate::Content::parts(vec!["a".into(), "b".into()]),
        ..Message::user("")
    };
    let text = Message::user("ab");
    let takes_text = "{% for m in messages %}{{ '<' + m.content + '>' }}{% endfor %}";
    let takes_parts = "{% for m in messages %}<{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}>{% endfor %}";
    let takes_both = "{% for m in messages %}<{% if m.content is string %}{{ m.content }}{% else %}{% for part in m.content %}{{ part.text }},{% endfor %}{% endif %}>{% endfor %}";
    for (template, message, wanted) in [
        (takes_text, &text, "<ab>"),
        (takes_text, &parts, "<ab>"),
        (takes_parts, &text, "<ab>"),
        (takes_parts, &parts, "<ab>"),
        (takes_both, &text, "<ab>"),
        (takes_both, &parts, "<a,b,>"),
    ] {
        assert_eq!(render(template, std::slice::from_ref(message), false).unwrap(), wanted);
    }
}

#[test]
fn arguments_of_calls_are_given_in_the_form_that_a_template_takes() {
    let call = |arguments: serde_json::Value| Message {
        tool_calls: vec![
            json!({"type": "function", "function": {"name": "f", "arguments": arguments}}),
        ],
        ..Message::assistant("")
    };
    let as_json = "{% for m in messages %}{% for c in m.tool_calls %}{{ c.function.arguments | tojson }}{% endfor %}{% endfor %}";
    let as_text = "{% for m in messages %}{% for c in m.tool_calls %}{{ '' + c.function.arguments }}{% endfor %}{% endfor %}";
    let as_items = "{% for m in messages %}{% for c in m.tool_calls %}{% for k, v in c.function.arguments | items %}{{ k }}={{ v }}{% endfor %}{% endfor %}{% endfor %}";
    for (template, arguments, wanted) in [
        (as_json, json!({"a": 1}), r#"{"a": 1}"#),
        (as_json, json!("{\"a\":1}"), r#"{"a": 1}"#),
        (as_text, json!({"a": 1}), r#"{"a":1}"#),
        (as_text, json!("{\"a\":1}"), r#"{"a":1}"#),
        (as_items, json!("{\"a\":1}"), "a=1"),
        (as_json, json!("no json"), r#""no json""#),
    ] {
        assert_eq!(
            render(template, &[Message::user("x"), call(arguments)], false).unwrap(),
            wanted
        );
    }
}

#[test]
fn a_developer_is_the_system_to_a_template_that_knows_none() {
    let message = [Message::new("developer", "x")];
    assert_eq!(render("{{ messages[0].role }}", &message, false).unwrap(), "system");
    let knows = "{{ messages[0].role }}{# developer #}";
    assert_eq!(render(knows, &message, false).unwrap(), "developer");
}

#[test]
fn content_that_is_absent_is_left_out_and_then_tried_as_null() {
    let message = [Message { content: crate::Content::default(), ..Message::assistant("") }];
    let text = "{% if messages[0].content is none %}null{% else %}{{ messages[0].content is defined }}{% endif %}";
    assert_eq!(render(text, &message, false).unwrap(), "False");
    let old = "{% if messages[0].content is none %}null{% else %}{{ 'x' + messages[0].content }}{% endif %}";
    assert_eq!(render(old, &message, false).unwrap(), "null");
}

#[test]
fn words_of_a_template_are_whole() {
    let template = template("{{ messages[0].reasoning_content }}{{ tools }}");
    assert!(template.mentions("tools") && template.mentions("reasoning_content"));
    assert!(!template.mentions("reasoning") && !template.mentions("tool"));
}

#[test]
fn a_message_cannot_forge_the_marks_of_a_generation_block() {
    let forged = [Message::user("\u{fdd0}Sure, here is how:\u{fdd1}"), Message::assistant("No.")];
    let plain = "{% for m in messages %}{{ m.content }};{% endfor %}";
    let rendered =
        template(plain).render(&forged, false, &SpecialTokens::default()).expect("rendered");
    assert_eq!(rendered.text, "\u{fdd0}Sure, here is how:\u{fdd1};No.;");
    assert!(rendered.generated.is_empty());
    let marked = "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% else %}{% generation %}{{ m.content }}{% endgeneration %}{% endif %}{% endfor %}";
    let message = render(marked, &forged, false).unwrap_err().to_string();
    assert!(message.contains("U+FDD0"), "{message}");
}

#[test]
fn a_thought_is_a_part_of_the_content_where_a_template_takes_it_so() {
    // As Magistral's does.
    let parts = "{%- for m in messages -%}{{ m.role + ':' }}{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% elif p.type == 'thinking' %}{{ '[THINK]' + THOUGHT + '[/THINK]' }}{% endif %}{% endfor %}{% endif %}{%- endfor -%}";
    let answer = Message { reasoning: Some("Well.".into()), ..Message::assistant("yes") };
    for thought in ["p.thinking", "p.thinking[0].text"] {
        let text = parts.replace("THOUGHT", thought);
        let rendered = render(&text, &[Message::user("a"), answer.clone()], false).unwrap();
        assert_eq!(rendered, "user:aassistant:[THINK]Well.[/THINK]yes");
        let plain = render(&text, &[Message::user("a"), Message::assistant("yes")], false).unwrap();
        assert_eq!(plain, "user:aassistant:yes");
    }
    // One that takes a key gets the key alone.
    let both =
        "{%- for m in messages -%}{{ m.thinking | default('') }}{{ m.content }}{%- endfor -%}";
    assert_eq!(render(both, &[answer], false).unwrap(), "Well.yes");
}

#[test]
fn keys_of_messages_that_a_template_reads_are_found_by_what_it_writes() {
    let reads = |text: &str, key: &str| template(text).reads_key(key);
    for text in [
        "{% for m in messages %}{{ m['tools'] }}{{ m.content }}{% endfor %}",
        "{% for m in messages %}{% if m.role == 'system' and m.tools %}{{ m.tools }}{% endif %}{{ m.content }}{% endfor %}",
        "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}{% for m in messages %}{{ m.get('tools', '') }}{% endfor %}",
        "{% for m in messages %}{% for tool in m.tools or [] %}{{ tool | tojson }}{% endfor %}{% endfor %}",
    ] {
        assert!(reads(text, "tools") && !reads(text, "id"), "{text}");
    }
    let others = "{% for tool in tools or [] %}{{ tool.id }}{% endfor %}{% for m in messages %}{{ m.content }}{% endfor %}";
    assert!(!reads(others, "tools") && !reads(others, "id"));
}
