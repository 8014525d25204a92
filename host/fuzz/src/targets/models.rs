//! What models, adapters and vectors are made of.

use std::path::Path;
use std::sync::OnceLock;

use candle_core::Device;
use host_model::chat::{ChatTemplate, SpecialTokens};
use host_model::{
    Chat, ChatTokenizer, Config, LoadOptions, Lora, Message, Model, Moment, Source, Steering,
    TemplateOptions,
};

use crate::place;

/// `config.json` of a model.
pub fn config(input: &[u8]) {
    let _ = Config::from_json_with_notices(&String::from_utf8_lossy(input), "config.json");
}

fn messages() -> [Message; 3] {
    [Message::new("system", "Be kind."), Message::user("Hello?"), Message::assistant(" Hello! ")]
}

/// A chat template.
pub fn template(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    // The date of a run is a setting, not the clock.
    let options =
        TemplateOptions { date: Moment::parse("2026-01-02T03:04:05"), ..Default::default() };
    let Ok(template) = ChatTemplate::new(&text, &options) else { return };
    let messages = messages();
    for (messages, prompt) in [(&messages[..], false), (&messages[1..2], true)] {
        if let Ok(rendered) = template.render(messages, prompt, &SpecialTokens::default()) {
            for span in rendered.generated {
                assert!(rendered.text.get(span).is_some(), "a span is of the text");
            }
        }
    }
}

/// `tokenizer.json`; a second part is `tokenizer_config.json`.
pub fn tokenizer(input: &[u8]) {
    let (tokenizer, config) = place::two(input);
    let files = [("tokenizer.json", tokenizer), ("tokenizer_config.json", config)];
    let files = files.into_iter().filter(|(_, bytes)| !bytes.is_empty());
    let files = files.map(|(name, bytes)| (name.to_owned(), bytes.to_vec())).collect();
    let Ok(tokenizer) = ChatTokenizer::from_files(files, Path::new("model"), &[0]) else { return };
    for text in ["", "Hello, World! 12345   \n\n x", "äöü \u{1F600} \u{0}"] {
        if let Ok(ids) = tokenizer.encode(text) {
            let _ = tokenizer.decode(&ids);
        }
    }
    let _ = tokenizer.encode_chat(Chat::from(&messages()[..]));
}

/// A folder with a model, of which the weights are the input.
pub fn safetensors(input: &[u8]) {
    const TOKENIZER: &[u8] = include_bytes!("../../corpus/tokenizer/bpe");
    const CONFIG: &[u8] = include_bytes!("../../corpus/model-config/tiny");
    let (tokenizer, config) = place::two(TOKENIZER);
    for (name, bytes) in
        [("tokenizer.json", tokenizer), ("tokenizer_config.json", config), ("config.json", CONFIG)]
    {
        place::file(&format!("model/{name}"), bytes);
    }
    let weights = place::file("model/model.safetensors", input);
    if let Some(folder) = weights.parent() {
        let _ = host_model::load(&Source::Directory(folder.to_owned()), &LoadOptions::default());
    }
}

/// A model in one file.
pub fn gguf(input: &[u8]) {
    let path = place::file("model.gguf", input);
    let _ = host_model::load(&Source::Gguf(path), &LoadOptions::default());
}

fn demo() -> &'static Model {
    static DEMO: OnceLock<Model> = OnceLock::new();
    DEMO.get_or_init(host_data::demo::model)
}

/// `adapter_config.json` and `adapter_model.safetensors`.
pub fn adapter(input: &[u8]) {
    let (config, weights) = place::two(input);
    let path = place::file("adapter/adapter_config.json", config);
    place::file("adapter/adapter_model.safetensors", weights);
    if let Some(folder) = path.parent() {
        let _ = Lora::load_peft(folder, &demo().config, &Device::Cpu);
    }
}

/// Vectors that steer.
pub fn vectors(input: &[u8]) {
    let _ = Steering::load(&place::file("vectors.safetensors", input));
}
