//! What the documents show and no test can run: options and values of such commands are the program's, Python is Python,
//! and what it asks a server is answered.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::program::{alone, root, text, words};
use crate::readme::{blocks, pages};
use crate::serve::start;

/// Reads a program from stdin and prints its calls: name, positional arguments, named arguments. What isn't a literal is
/// null. Fails where it isn't Python.
const CALLS: &str = r#"
import ast, json, sys

def value(node):
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None

calls = []
for node in ast.walk(ast.parse(sys.stdin.read())):
    if isinstance(node, ast.Call):
        named = {one.arg: value(one.value) for one in node.keywords}
        calls.append([ast.unparse(node.func), [value(one) for one in node.args], named])
print(json.dumps(calls))
"#;

/// All pages that show commands, with their names.
fn documents() -> Vec<(String, String)> {
    let mut all = pages(&root().join("docs"));
    all.extend(pages(&root().join("examples")));
    all.extend(["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root().join(name)));
    let page = |path: &Path| {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        (name, std::fs::read_to_string(path).unwrap())
    };
    all.iter().map(|path| page(path)).collect()
}

/// The arguments of each command of this program in blocks that aren't run, whoever starts it.
fn arguments(page: &str) -> Vec<Vec<String>> {
    let lines = blocks(page, "sh no-run").join("\n").replace("\\\n", " ");
    let of_host = |line: &str| {
        let words = words(&line.replace('\'', "\""));
        let begin = words.iter().position(|word| word == "host" || word.ends_with("/host"))?;
        Some(words[begin + 1..].to_vec())
    };
    lines.lines().filter_map(of_host).collect()
}

/// Whether all options are known and what the command line itself checks of values is valid: the help is shown once
/// everything before it was read.
fn understood(folder: &tempfile::TempDir, arguments: &[String]) -> Result<(), String> {
    let output = alone(folder).args(arguments).arg("--help").output().unwrap();
    if output.status.success() { Ok(()) } else { Err(text(&output.stderr).to_owned()) }
}

#[test]
fn options_of_commands_that_are_not_run_are_the_programs() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = ["train --no-such-option", "train --steps x", "export --quantize q3", "no-command"];
    for wrong in wrong {
        assert!(understood(&folder, &words(wrong)).is_err(), "{wrong}");
    }
    let mut count = 0;
    for (name, page) in documents() {
        for arguments in arguments(&page) {
            let answer = understood(&folder, &arguments);
            assert_eq!(answer, Ok(()), "{name}: host {}", arguments.join(" "));
            count += 1;
        }
    }
    assert!(count >= 15, "{count}");
}

/// Name, positional and named arguments of a call.
type Call = (String, Vec<Value>, serde_json::Map<String, Value>);

/// The calls of a Python program; none where there is no Python.
fn calls(name: &str, program: &str) -> Option<Vec<Call>> {
    let mut command = Command::new("python3");
    command.args(["-c", CALLS]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = command.stderr(Stdio::piped()).spawn().ok()?;
    process.stdin.take().unwrap().write_all(program.as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success(), "{name}: {}", text(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn the_python_of_the_documents_asks_for_what_is_there() {
    let Some(broken) = calls("none", "f('a', b=[1])") else {
        eprintln!("skipped: python3 isn't installed");
        return;
    };
    assert_eq!(broken[0].0, "f");
    let (mut requests, mut folders) = (Vec::new(), 0);
    for (name, page) in documents() {
        for program in page.split("```python\n").skip(1) {
            let program = program.split("```").next().unwrap();
            for (call, values, named) in calls(&name, program).unwrap() {
                if call.ends_with(".from_pretrained") {
                    // Something that a command of the page writes.
                    let written = format!("--output {}", values[0].as_str().unwrap());
                    assert!(blocks(&page, "sh").iter().any(|it| it.contains(&written)), "{name}");
                    folders += 1;
                } else if call == "OpenAI" {
                    let base = named["base_url"].as_str().unwrap();
                    assert_eq!(base, "http://127.0.0.1:8000/v1", "{name}");
                } else if let Some(path) =
                    call.strip_prefix("client.").and_then(|it| it.strip_suffix(".create"))
                {
                    let path = format!("/v1/{}", path.replace('.', "/"));
                    requests.push((name.clone(), path, Value::Object(named)));
                }
            }
        }
    }
    assert!(folders >= 2 && !requests.is_empty(), "{folders}, {requests:?}");

    let folder = tempfile::tempdir().unwrap();
    let server = start(&folder, &[]);
    let count = requests.len();
    for (name, path, body) in requests {
        let reply = server.post(&path, &body);
        assert!(reply.starts_with("HTTP/1.1 200"), "{name}: {path} {body}: {reply}");
        assert!(reply.contains("\"choices\""), "{name}: {reply}");
    }
    let (code, said) = server.end("TERM");
    assert_eq!(code, Some(130), "{said}");
    // Nothing that was passed over.
    let answered = format!("answered {count} requests");
    assert!(said.contains(&answered) && !said.contains("field"), "{said}");
}
