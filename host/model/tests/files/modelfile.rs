//! Modelfiles, by which Ollama takes a GGUF file.

use host_model::export::modelfile::{self, Weights};
use host_model::{LoadOptions, Source, load};

use crate::tiny;

fn modelfile_of(template: &str) -> String {
    let dir = tiny::folder("llama");
    let path = dir.path().join("t.jinja");
    std::fs::write(&path, template).unwrap();
    let options = LoadOptions { chat_template: Some(path), ..LoadOptions::default() };
    let model = load(&Source::Directory(dir.path().to_owned()), &options).unwrap();
    let weights =
        Weights { from: "./m.gguf", adapter: Some("./a b.gguf"), remark: Some("made\nby") };
    modelfile::text(weights, &model.tokenizer)
}

#[test]
fn a_modelfile_has_the_template_of_go_that_writes_the_same() {
    let text = modelfile_of(tiny::CHATML);
    let expected = r##"# made\nby
FROM ./m.gguf
ADAPTER "./a b.gguf"
TEMPLATE """{{- range $i, $_ := .Messages }}{{- $last := eq (len (slice $.Messages $i)) 1 }}
{{- if eq .Role "user" }}{{ "<|im_start|>user\n" }}{{ .Content }}{{ "<|im_end|>\n" }}
{{- else if eq .Role "system" }}{{ "<|im_start|>system\n" }}{{ .Content }}{{ "<|im_end|>\n" }}
{{- else if eq .Role "assistant" }}{{ "<|im_start|>assistant\n" }}{{ .Content }}{{ if not $last }}{{ "<|im_end|>\n" }}{{ end }}
{{- end }}
{{- if and $last (ne .Role "assistant") }}{{ "<|im_start|>assistant\n" }}{{ end }}
{{- end }}"""
PARAMETER stop "<|im_end|>"
"##;
    assert_eq!(text, expected);
}

#[test]
fn what_a_template_does_beyond_fixed_texts_is_said_in_the_modelfile() {
    let default = "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nBe \"nice\".<|im_end|>\n' }}{% endif %}";
    let text = modelfile_of(&format!("{default}{}", tiny::CHATML));
    assert!(
        text.contains(
            r#"{{ if eq $i 0 }}{{ "<|im_start|>system\nBe \x22nice\x22.<|im_end|>\n" }}{{ end }}"#
        ),
        "{text}"
    );
    let trimmed = tiny::CHATML.replace("message['content']", "message['content'] | trim");
    let text = modelfile_of(&trimmed);
    assert!(
        text.contains("TEMPLATE") && text.contains("# The model's own template cuts white space"),
        "{text}"
    );
    let counted =
        tiny::CHATML.replace("message['role'] +", "message['role'] + loop.index|string +");
    let text = modelfile_of(&counted);
    assert!(
        text.contains("# No TEMPLATE: the chat template") && !text.contains("TEMPLATE \""),
        "{text}"
    );
    assert!(text.contains("PARAMETER stop"), "{text}");
}
