//! Chat templates: the Jinja template of a model's own files turns messages into the text the model was trained on.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{Environment, ErrorKind, context};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::message::{Chat, TemplateInputs};

/// The special tokens that a template may name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Begin of sequence, empty when the model has none.
    pub bos: String,
    /// End of sequence.
    pub eos: String,
    /// Padding.
    pub pad: String,
    /// Unknown.
    pub unk: String,
}

/// A compiled chat template.
#[derive(Clone)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    text: String,
}

const NAME: &str = "chat template";

impl ChatTemplate {
    /// Compile a template with the settings and functions that Python's transformers gives it: `trim_blocks`,
    /// `lstrip_blocks`, Python's string and list methods, `raise_exception`, `strftime_now`, `tojson`, loop controls.
    ///
    /// # Errors
    /// [`Error::Template`] with the line when the template isn't valid Jinja.
    pub fn new(text: &str) -> Result<Self> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment
            .set_syntax(syntax.map_err(|e| Error::template(cause(&e), "report this as a bug"))?);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", |format: String| crate::date::strftime(&format));
        environment.add_filter("tojson", to_json);
        environment.add_template_owned(NAME, without_generation_tags(text)).map_err(|e| {
            let line = e.line().map_or_else(String::new, |l| format!(" in line {l}"));
            Error::template(
                format!("isn't valid Jinja{line}: {}", cause(&e)),
                "correct it, or give another with --chat-template FILE",
            )
        })?;
        Ok(Self { environment, text: text.to_owned() })
    }

    /// Whether the template reads a variable of this name, which isn't given to every conversation.
    pub fn reads(&self, variable: &str) -> bool {
        const GIVEN: [&str; 6] = [
            "messages",
            "add_generation_prompt",
            "bos_token",
            "eos_token",
            "pad_token",
            "unk_token",
        ];
        let template = self.environment.get_template(NAME);
        !GIVEN.contains(&variable)
            && template
                .is_ok_and(|template| template.undeclared_variables(false).contains(variable))
    }

    /// The template's text as found.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Render a conversation; with `add_generation_prompt` it ends where the model's answer begins.
    ///
    /// # Errors
    /// [`Error::Template`] when the template refuses the messages (a role it doesn't know, an order it doesn't allow).
    pub fn render<'a>(
        &self,
        chat: impl Into<Chat<'a>>,
        add_generation_prompt: bool,
        special: &SpecialTokens,
    ) -> Result<String> {
        let Chat { messages, inputs } = chat.into();
        let failed = |e: minijinja::Error| {
            Error::template(
                format!("refuses the conversation: {}", cause(&e)),
                "check the roles and their order, or give another template with --chat-template FILE",
            )
        };
        let template = self.environment.get_template(NAME).map_err(failed)?;
        let named = context! {
            messages => Value::from(Serde(messages)),
            add_generation_prompt => add_generation_prompt,
            bos_token => special.bos.as_str(),
            eos_token => special.eos.as_str(),
            pad_token => special.pad.as_str(),
            unk_token => special.unk.as_str(),
            ..Value::from(Serde(TemplateVariables::from(inputs)))
        };
        template.render(named).map_err(failed)
    }
}

/// Variables that a row gives its template, by their names there.
#[derive(Serialize)]
struct TemplateVariables<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<&'a serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    documents: Option<&'a serde_json::Value>,
    #[serde(flatten)]
    kwargs: &'a std::collections::BTreeMap<String, serde_json::Value>,
}

impl<'a> From<&'a TemplateInputs> for TemplateVariables<'a> {
    fn from(inputs: &'a TemplateInputs) -> Self {
        let TemplateInputs { tools, documents, kwargs } = inputs;
        Self { tools: tools.as_ref(), documents: documents.as_ref(), kwargs }
    }
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ChatTemplate").field(&self.text).finish()
    }
}

fn raise_exception(message: String) -> std::result::Result<Value, minijinja::Error> {
    Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
}

/// `{% generation %}` marks answers for transformers' loss mask and renders nothing; Jinja here doesn't know it.
fn without_generation_tags(text: &str) -> String {
    let mut rest = text;
    let mut out = String::with_capacity(text.len());
    while let Some(start) = rest.find("{%") {
        let Some(length) = rest[start..].find("%}") else {
            break;
        };
        let tag = &rest[start + 2..start + length];
        let word = tag.trim_matches(['-', '+']).trim();
        out.push_str(&rest[..start]);
        out.push_str("{%");
        match word {
            "generation" => out.push_str(&tag.replace("generation", "if true")),
            "endgeneration" => out.push_str(&tag.replace("endgeneration", "endif")),
            _ => out.push_str(tag),
        }
        out.push_str("%}");
        rest = &rest[start + length + 2..];
    }
    out + rest
}

/// Python's `json.dumps(value, ensure_ascii=False, indent=…)`; Jinja's own filter would escape HTML.
fn to_json(value: Value, options: Kwargs) -> std::result::Result<Value, minijinja::Error> {
    let invalid =
        |e: serde_json::Error| minijinja::Error::new(ErrorKind::BadSerialization, e.to_string());
    let indent: Option<usize> = options.get("indent")?;
    // Accepted as transformers does; escaping to ASCII or sorting keys is not offered.
    let _: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let mut out = Vec::new();
    if let Some(width) = indent {
        let width = " ".repeat(width);
        let pretty = serde_json::ser::PrettyFormatter::with_indent(width.as_bytes());
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, pretty);
        value.serialize(&mut serializer).map_err(invalid)?;
    } else {
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, PythonSpacing);
        value.serialize(&mut serializer).map_err(invalid)?;
    }
    Ok(Value::from_safe_string(String::from_utf8_lossy(&out).into_owned()))
}

/// `", "` and `": "` between items, as Python writes JSON.
struct PythonSpacing;

impl serde_json::ser::Formatter for PythonSpacing {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
    ) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

fn cause(error: &minijinja::Error) -> String {
    let text = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::message::Message;

    fn render(template: &str, messages: &[Message], prompt: bool) -> Result<String> {
        let special =
            SpecialTokens { bos: "<s>".into(), eos: "</s>".into(), ..SpecialTokens::default() };
        ChatTemplate::new(template)?.render(messages, prompt, &special)
    }

    #[test]
    fn blocks_are_trimmed_and_python_methods_work() {
        let template = "{{ bos_token }}{% for m in messages %}\n    {% if m['role'].upper() == 'USER' %}\nU: {{ m.content.strip() }}\n    {% endif %}\n{% endfor %}\n{% if add_generation_prompt %}A:{% endif %}";
        let text = render(template, &[Message::user("  hi ")], true).unwrap();
        assert_eq!(text, "<s>U: hi\nA:");
    }

    #[test]
    fn a_template_reads_everything_that_a_row_carries() {
        let template = "{{ tools[0].name }},{{ documents | length }},{{ enable_thinking }}{% for m in messages %},{{ m.reasoning_content }},{{ m.tool_calls[0].function.name }},{{ m.name }},{{ m.tool_call_id }}{% endfor %}";
        let message = Message {
            reasoning: Some("r".into()),
            tool_calls: vec![serde_json::json!({"function": {"name": "f"}})],
            name: Some("n".into()),
            tool_call_id: Some("1".into()),
            ..Message::assistant("x")
        };
        let inputs = TemplateInputs {
            tools: Some(serde_json::json!([{"name": "t"}])),
            documents: Some(serde_json::json!([{}, {}])),
            kwargs: [("enable_thinking".to_owned(), "off".into())].into(),
        };
        let chat = Chat { messages: &[message], inputs: &inputs };
        let text =
            ChatTemplate::new(template).unwrap().render(chat, false, &SpecialTokens::default());
        assert_eq!(text.unwrap(), "t,2,off,r,f,n,1");
    }

    #[test]
    fn a_template_may_refuse() {
        let template = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}ok";
        assert_eq!(render(template, &[Message::user("x")], false).unwrap(), "ok");
        let error =
            render(template, &[Message::new("system", "x")], false).unwrap_err().to_string();
        assert!(error.contains("no system role") && error.contains("--chat-template"), "{error}");
    }

    #[test]
    fn broken_templates_name_the_line() {
        let error = ChatTemplate::new("a\n{% if %}").unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }

    #[test]
    fn json_is_written_as_python_does() {
        let template = "{{ {'a': [1, 'ü<b>'], 'b': true} | tojson }}|{{ [1] | tojson(indent=2) }}";
        let text = render(template, &[], false).unwrap();
        assert_eq!(text, "{\"a\": [1, \"ü<b>\"], \"b\": true}|[\n  1\n]");
    }

    #[test]
    fn generation_marks_render_nothing_and_namespaces_and_breaks_work() {
        let template = "{%- set ns = namespace(n=0) -%}{%- for m in messages -%}{%- set ns.n = ns.n + 1 -%}{%- generation -%}{{ m.content }}{%- endgeneration -%}{%- break -%}{%- endfor -%}{{ ns.n }}";
        assert_eq!(
            render(template, &[Message::user("x"), Message::user("y")], false).unwrap(),
            "x1"
        );
    }

    #[test]
    fn python_slices_and_methods_of_real_templates_work() {
        let template = "{%- for m in messages[::-1] %}{{ m.content.split('</think>')[-1].lstrip('\\n') }}{{ m.content is string }}{{ m.content.startswith('a') }},{% endfor %}{{ messages[1:] | length }}{{ (messages | last).content | trim }}";
        let messages = [Message::user("a"), Message::assistant("x</think>\n b ")];
        assert_eq!(
            render(template, &messages, false).unwrap().to_lowercase(),
            " b truefalse,atruetrue,1x</think>\n b"
        );
    }

    #[test]
    fn the_date_does_not_depend_on_the_day() {
        assert_eq!(render("{{ strftime_now('%d %b %Y') }}", &[], false).unwrap(), "26 Jul 2024");
    }
}
