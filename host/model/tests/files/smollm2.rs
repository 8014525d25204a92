//! A real chat model. Run with
//! `HOST_TEST_SMOLLM2=SmolLM2-135M-Instruct.Q4_1.gguf cargo test --release -p host-model --test files -- --ignored smollm2`

use candle_core::DType;
use host_model::{GenerateOptions, LoadOptions, Message, Model, Source, export, generate, load};

fn model() -> Model {
    let path = std::env::var("HOST_TEST_SMOLLM2").expect("HOST_TEST_SMOLLM2 names the file");
    load(&Source::parse(&path).unwrap(), &LoadOptions::default()).unwrap()
}

fn answer(model: &Model, question: &str) -> String {
    let prompt = model.tokenizer.encode_prompt(&[Message::user(question)]).unwrap();
    let options = GenerateOptions { max_new_tokens: 24, ..GenerateOptions::default() };
    let stop = model.tokenizer.stop_tokens();
    let answers = generate(&model.decoder, None, &[prompt], stop, &options, &mut |_| {}).unwrap();
    model.tokenizer.decode(&answers[0]).unwrap()
}

#[test]
#[ignore = "needs HOST_TEST_SMOLLM2"]
fn smollm2_speaks() {
    let model = model();
    assert_eq!(model.tokenizer.encode("Hello").unwrap(), [19556]);
    assert_eq!(model.tokenizer.encode("2024").unwrap().len(), 4);
    assert_eq!(model.tokenizer.stop_tokens(), [2]);
    let messages = [Message::user("What is the capital of France?")];
    let text = model.tokenizer.render(&messages, true).unwrap();
    assert_eq!(
        text,
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    );
    let spoken = answer(&model, "What is the capital of France?");
    println!("{spoken}");
    assert!(spoken.contains("Paris"), "{spoken}");
}

#[test]
#[ignore = "needs HOST_TEST_SMOLLM2"]
fn smollm2_survives_its_export() {
    let model = model();
    let dir = tempfile::tempdir().unwrap();
    // Kept for a look from Python when a place is named.
    let out = std::env::var("SMOLLM2_OUT").map_or(dir.path().join("out"), Into::into);
    export::merge(&model, None, &out, DType::F32).unwrap();
    let copy = load(&Source::Directory(out), &LoadOptions::default()).unwrap();
    assert_eq!(copy.config, model.config);
    let question = "Name three colours.";
    assert_eq!(answer(&copy, question), answer(&model, question));
}
