//! A Modelfile, with which Ollama takes a GGUF file: where the weights are, how a conversation is written, what ends an
//! answer.
//!
//! Ollama's templates are Go's and no Jinja. One is derived where the model's own template writes every turn as a fixed
//! text around its content, which is tried; where it does more, the Modelfile has none and says so.

use crate::message::Message;
use crate::tokenizer::ChatTokenizer;

/// What a Modelfile points to.
#[derive(Debug, Clone, Copy)]
pub struct Weights<'a> {
    /// The model's file, as a path from the Modelfile.
    pub from: &'a str,
    /// The adapter's, likewise.
    pub adapter: Option<&'a str>,
    /// A line about where the model's file comes from, if it isn't beside the Modelfile.
    pub remark: Option<&'a str>,
}

/// The text of a Modelfile.
pub fn text(weights: Weights<'_>, tokenizer: &ChatTokenizer) -> String {
    let mut lines = Vec::new();
    lines.extend(weights.remark.map(|remark| format!("# {}", host_files::text::line(remark))));
    lines.push(format!("FROM {}", quoted(weights.from)));
    lines.extend(weights.adapter.map(|adapter| format!("ADAPTER {}", quoted(adapter))));
    match Turns::of(tokenizer) {
        Ok(turns) => {
            if !turns.keeps_blanks(tokenizer) {
                lines.push("# The model's own template cuts white space off the ends of contents, which this one doesn't.".into());
            }
            lines.push(format!("TEMPLATE \"\"\"{}\"\"\"", turns.go()));
        }
        Err(why) => lines.push(format!(
            "# No TEMPLATE: {why}. Ollama looks for one that it knows by the chat template in the file; compare what it \
             shows (ollama show --template) before relying on it."
        )),
    }
    let stops = tokenizer.stop_tokens().iter().filter_map(|id| tokenizer.token(*id));
    for stop in stops {
        lines.push(if stop.contains(['"', '\n', '\r']) {
            "# One more stop token can't be written here.".into()
        } else {
            format!("PARAMETER stop \"{stop}\"")
        });
    }
    lines.join("\n") + "\n"
}

/// As it is, or between quotation marks.
fn quoted(path: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=@:,".contains(c);
    if path.chars().all(is_plain) { path.to_owned() } else { format!("\"{path}\"") }
}

/// The fixed texts of a template: before and after the content of each role.
#[derive(Debug, PartialEq, Eq)]
struct Turns {
    /// Where the first message isn't the system's.
    head: String,
    system: Option<(String, String)>,
    user: (String, String),
    assistant: (String, String),
}

/// Contents that no template writes.
const MARKS: [&str; 4] = ["qxSYSTEMxq", "qxFIRSTxq", "qxANSWERxq", "qxSECONDxq"];

impl Turns {
    fn of(tokenizer: &ChatTokenizer) -> Result<Self, &'static str> {
        let turns = Self::derived(tokenizer)?;
        let contents = [
            "What is 2 + 2?",
            "It is four.",
            "And\n\n- 3 + 3,\n- 4 + 4?",
            "Six \"and\" {eight}.",
            "ä 東京",
        ];
        let [first, answer, second, other, third] = contents;
        let system = turns.system.is_some().then_some(["system", "Be brief."]);
        let user = |text| ["user", text];
        let assistant = |text| ["assistant", text];
        let talks = [
            vec![user(first)],
            vec![user(first), assistant(answer), user(second)],
            vec![user(third), assistant(other), user(second), assistant(answer), user(first)],
        ];
        for talk in talks {
            let with_system = system.map(|system| [vec![system], talk.clone()].concat());
            for talk in with_system.into_iter().chain([talk]) {
                if written(tokenizer, &talk, true).as_deref() != Some(&turns.render(&talk)) {
                    return Err(
                        "the chat template does more than write a fixed text around every content",
                    );
                }
            }
        }
        Ok(turns)
    }

    fn derived(tokenizer: &ChatTokenizer) -> Result<Self, &'static str> {
        let without = "the model has no chat template that can be tried";
        let irregular = "the chat template writes the same turn in different ways";
        let [system, first, answer, second] = MARKS;
        let show = |talk: &[[&str; 2]], generate| written(tokenizer, talk, generate);
        let (user, whole) =
            (["user", first], [["user", first], ["assistant", answer], ["user", second]]);
        let long = show(&whole, true).ok_or(without)?;
        let [before, between, after, end] =
            split(&long, [first, answer, second]).ok_or(irregular)?;
        let alone = show(&[user], false).ok_or(without)?;
        let (_, user_end) = alone.split_once(first).ok_or(irregular)?;
        let answered = show(&whole[..2], false).ok_or(without)?;
        let (_, answer_end) = answered.split_once(answer).ok_or(irregular)?;
        let user_begin = after.strip_prefix(answer_end).ok_or(irregular)?;
        let answer_begin = end.strip_prefix(user_end).ok_or(irregular)?;
        if between != end {
            return Err(irregular);
        }
        let head = before.strip_suffix(user_begin).ok_or(irregular)?;
        let with_system = show(&[["system", system], user], true);
        let system = with_system.as_deref().and_then(|text| {
            let (begin, rest) = text.split_once(system)?;
            let (between, _) = rest.split_once(first)?;
            Some((begin.to_owned(), between.strip_suffix(user_begin)?.to_owned()))
        });
        let pair = |begin: &str, end: &str| (begin.to_owned(), end.to_owned());
        Ok(Self {
            head: head.to_owned(),
            system,
            user: pair(user_begin, user_end),
            assistant: pair(answer_begin, answer_end),
        })
    }

    /// What the template of Go writes.
    fn render(&self, talk: &[[&str; 2]]) -> String {
        let mut text = String::new();
        for (index, [role, content]) in talk.iter().enumerate() {
            let (begin, end) = match (*role, &self.system) {
                ("system", Some(system)) => system,
                ("system", None) => continue,
                ("user", _) => {
                    text += if index == 0 { &self.head } else { "" };
                    &self.user
                }
                _ => &self.assistant,
            };
            text += &[begin, *content, end].concat();
        }
        text + &self.assistant.0
    }

    fn keeps_blanks(&self, tokenizer: &ChatTokenizer) -> bool {
        let talk = [["user", " a \n"]];
        written(tokenizer, &talk, true).as_deref() == Some(&self.render(&talk))
    }

    /// All texts are strings within actions, so that no blank is lost and nothing in them is an action.
    fn go(&self) -> String {
        let text = |text: &str| {
            if text.is_empty() { String::new() } else { format!("{{{{ {} }}}}", go_string(text)) }
        };
        let turn = |(begin, end): &(String, String)| {
            format!("{}{{{{ .Content }}}}{}", text(begin), text(end))
        };
        let mut go = String::from(
            "{{- range $i, $_ := .Messages }}{{- $last := eq (len (slice $.Messages $i)) 1 }}\n{{- if eq .Role \"user\" }}",
        );
        if !self.head.is_empty() {
            go += &format!("{{{{ if eq $i 0 }}}}{}{{{{ end }}}}", text(&self.head));
        }
        go += &turn(&self.user);
        if let Some(system) = &self.system {
            go += &format!("\n{{{{- else if eq .Role \"system\" }}}}{}", turn(system));
        }
        let (begin, end) = &self.assistant;
        go += &format!(
            "\n{{{{- else if eq .Role \"assistant\" }}}}{}{{{{ .Content }}}}",
            text(begin)
        );
        if !end.is_empty() {
            go += &format!("{{{{ if not $last }}}}{}{{{{ end }}}}", text(end));
        }
        go += "\n{{- end }}";
        if !begin.is_empty() {
            go += &format!(
                "\n{{{{- if and $last (ne .Role \"assistant\") }}}}{}{{{{ end }}}}",
                text(begin)
            );
        }
        go + "\n{{- end }}"
    }
}

fn written(tokenizer: &ChatTokenizer, talk: &[[&str; 2]], generate: bool) -> Option<String> {
    let messages: Vec<Message> =
        talk.iter().map(|[role, content]| Message::new(*role, *content)).collect();
    tokenizer.render(&messages[..], generate).ok()
}

/// The texts around three marks, which stand there once each and in order.
fn split<'t>(text: &'t str, marks: [&str; 3]) -> Option<[&'t str; 4]> {
    if marks.iter().any(|mark| text.matches(mark).count() != 1) {
        return None;
    }
    let (before, rest) = text.split_once(marks[0])?;
    let (between, rest) = rest.split_once(marks[1])?;
    let (after, end) = rest.split_once(marks[2])?;
    Some([before, between, after, end])
}

/// A string of Go, of ASCII alone. No quotation mark is in it, so three never meet.
fn go_string(text: &str) -> String {
    let mut shown = String::from("\"");
    for c in text.chars() {
        match c {
            '\n' => shown += "\\n",
            '\t' => shown += "\\t",
            '\\' => shown += "\\\\",
            '"' => shown += "\\x22",
            ' '..='~' => shown.push(c),
            c => shown += &format!("\\U{:08x}", u32::from(c)),
        }
    }
    shown + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_of_go_hold_no_quotation_mark_and_no_line_break() {
        assert_eq!(go_string("<|im_end|>\n"), r#""<|im_end|>\n""#);
        assert_eq!(go_string("\"\"\" {{ \\ ▁\r"), r#""\x22\x22\x22 {{ \\ \U00002581\U0000000d""#);
    }

    #[test]
    fn a_path_with_a_blank_is_quoted() {
        assert_eq!(quoted("./a-b_1.gguf"), "./a-b_1.gguf");
        assert_eq!(quoted("./a b.gguf"), "\"./a b.gguf\"");
    }
}
