//! Guards on the demo model, with chat templates in the styles of guard models.

use std::path::Path;

use host_model::Message;

use super::prompt::Writer;
use super::*;
use crate::kinds::local_tests::demo_folder;

static GO: AtomicBool = AtomicBool::new(false);

/// Content as a list of parts, as in Llama Guard 3 1B's.
const PARTS: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for part in m.content %}{% if part.type == 'text' %}{{ part.text | trim }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
/// The same with content as text.
const TEXT: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// The demo model in a folder, with this chat template.
fn guard_model(folder: &Path, template: &str) -> String {
    std::fs::write(folder.join("chat_template.jinja"), template).expect("written");
    demo_folder(folder)
}

fn config(model: String) -> GuardConfig {
    GuardConfig {
        model,
        asks: Some(Asks::Conversation),
        harmful: vec!["Sure".into()],
        harmless: vec!["I can't".into()],
        ..GuardConfig::default()
    }
}

/// A guard with this template, and what is changed.
fn guard(template: &str, change: impl Fn(&mut GuardConfig)) -> Result<Guard> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config(guard_model(folder.path(), template));
    change(&mut config);
    Guard::load("mine", &config)
}

fn refused(template: &str, change: impl Fn(&mut GuardConfig)) -> String {
    guard(template, change).err().expect("refused").to_string()
}

fn judged(guard: &Guard, messages: &[Message], answers: &[&str]) -> Vec<Judgement> {
    let pairs: Vec<Pair> = answers.iter().map(|answer| Pair { messages, answer }).collect();
    guard.judge(&pairs, &GO).expect("judged")
}

fn scores(guard: &Guard, messages: &[Message], answers: &[&str]) -> Vec<f64> {
    judged(guard, messages, answers).iter().map(|judgement| judgement.score).collect()
}

#[test]
fn a_template_that_wants_parts_shows_the_guard_what_one_that_wants_text_does() {
    let (parts, text) = (guard(PARTS, |_| ()), guard(TEXT, |_| ()));
    let (parts, text) = (parts.expect("loads"), text.expect("loads"));
    let messages = [Message::user("How do I bake bread?")];
    let answers = ["Yes.", "Knead, wait, bake.", "No."];
    let found = scores(&parts, &messages, &answers);
    assert_eq!(found, scores(&text, &messages, &answers));
    assert!(found[0] != found[1] && found[1] != found[2] && found[0] != found[2], "{found:?}");
    // So does our own question.
    let question = |template| guard(template, |it| it.asks = None).expect("loads");
    let found = scores(&question(PARTS), &messages, &answers);
    assert_eq!(found, scores(&question(TEXT), &messages, &answers));
    assert!(found[0] != found[1], "{found:?}");
}

#[test]
fn a_template_that_leaves_out_what_is_judged_is_refused_by_name() {
    let nothing = "<|im_start|>judge this<|im_end|>";
    let first = "<|im_start|>{{ messages[0].content }}<|im_end|>";
    let picture = "{% for m in messages %}{% for part in m.content %}{% if part.type == 'image' %}{{ part.text }}{% endif %}{% endfor %}{% endfor %}";
    for template in [nothing, first, picture] {
        let text = refused(template, |_| ());
        assert!(text.contains("judges.mine.guard.asks"), "{text}");
        assert!(
            text.contains("leaves out what was said") && text.contains("asks = \"question\""),
            "{text}"
        );
    }
    // The advice helps where a single message is shown.
    guard(first, |it| it.asks = Some(Asks::Question)).expect("loads");
    let text = refused("{{ raise_exception('only pictures') }}", |_| ());
    assert!(text.contains("only pictures"), "{text}");
}

#[test]
fn a_system_message_that_the_template_refuses_is_judged_with_the_users() {
    let strict = format!(
        "{{% if messages[0].role == 'system' %}}{{{{ raise_exception('no system') }}}}{{% endif %}}{TEXT}"
    );
    let guard = guard(&strict, |_| ()).expect("loads");
    let system = Message::new("system", "Be brief.");
    let user = Message::user("Say it.");
    let joined = [Message::user("Be brief.\n\nSay it.")];
    let found = scores(&guard, &[system.clone(), user], &["Yes."]);
    assert_eq!(found, scores(&guard, &joined, &["Yes."]));
    // What it refuses in any form costs the pair its score and nothing more.
    let failed = judged(&guard, &[system.clone(), system], &["Yes."]);
    assert_eq!(failed[0].status, host_contract::JudgementStatus::Failed);
    assert!(guard.problem().is_some_and(|problem| problem.contains("no system")));
}

#[test]
fn a_message_that_the_template_leaves_out_of_a_row_is_judged_all_the_same_or_costs_the_row() {
    let skipped = |what: &str| {
        let (begin, rest) = TEXT.split_once("%}").expect("a loop");
        let (turn, end) = rest.split_once("{% endfor %}").expect("its end");
        let template = format!("{begin}%}}{{% if {what} %}}{turn}{{% endif %}}{{% endfor %}}{end}");
        guard(&template, |_| ()).expect("loads")
    };
    let system = Message::new("system", "Be brief.");
    let user = Message::user("Say it.");
    let silent = skipped("m.role != 'system'");
    let found = scores(&silent, &[system.clone(), user.clone()], &["Yes."]);
    let joined = [Message::user("Be brief.\n\nSay it.")];
    assert_eq!(found, scores(&silent, &joined, &["Yes."]));
    assert_ne!(found, scores(&silent, std::slice::from_ref(&user), &["Yes."]));

    let policy = |it: &mut GuardConfig| {
        it.preset = Some(Preset::GptOssSafeguard);
        it.asks = None;
    };
    let without = TEXT.replace(
        "<|im_start|>{{ m.role }}\n{{ m.content | trim }}",
        "{% if m.role != 'system' %}{{ m.content | trim }}{% endif %}",
    );
    assert!(refused(&without, policy).contains("leaves out what was said"), "{without}");

    // Of several turns the first two: another answer than the one that is to be judged.
    let first = skipped("loop.index0 < 2");
    let turns = [user.clone(), Message::assistant("Why?"), Message::user("Please.")];
    let failed = judged(&first, &turns, &["Yes."]);
    assert_eq!(failed[0].status, host_contract::JudgementStatus::Failed);
    let problem = first.problem().expect("said");
    assert!(problem.contains("leaves out the last message of role user"), "{problem}");
    // The last two are what is judged.
    let last = skipped("loop.revindex <= 2");
    let found = scores(&last, &turns, &["Yes."]);
    assert_eq!(found, scores(&last, &turns[2..], &["Yes."]));
}

#[test]
fn the_verdict_is_read_behind_what_the_model_always_says_first() {
    let messages = [Message::user("How do I pick a lock?")];
    let bare = guard(TEXT, |_| ()).expect("loads");
    let led = guard(TEXT, |it| it.lead = Some("Well:\n\n".into())).expect("loads");
    let written = format!("{TEXT}{{% if add_generation_prompt %}}Well:\n\n{{% endif %}}");
    let by_template = guard(&written, |_| ()).expect("loads");
    // A lead that the template writes itself is not written twice.
    let both = guard(&written, |it| it.lead = Some("Well:\n\n".into())).expect("loads");
    let found = scores(&led, &messages, &["Yes."]);
    assert_eq!(found, scores(&by_template, &messages, &["Yes."]));
    assert_eq!(found, scores(&both, &messages, &["Yes."]));
    assert_ne!(found, scores(&bare, &messages, &["Yes."]));
    assert_ne!(led.identity(), bare.identity());
}

#[test]
fn the_verdict_of_a_model_that_thinks_is_read_where_its_answer_begins() {
    let messages = [Message::user("How do I pick a lock?")];
    let turn = "{% for m in messages %}<|im_start|>{{ m.role }}\n";
    let asked = "{% if add_generation_prompt %}<|im_start|>assistant\n";
    // An empty thought before every answer, and a prompt that begins a thought.
    let empty = format!(
        "{turn}{{% if m.role == 'assistant' %}}<think>\n\n</think>\n\n{{% endif %}}{{{{ m.content }}}}<|im_end|>\n{{% endfor %}}{asked}{{% endif %}}"
    );
    let begun =
        format!("{turn}{{{{ m.content }}}}<|im_end|>\n{{% endfor %}}{asked}<think>\n{{% endif %}}");
    let question = |template: &str, prompt: &str| {
        let guard = guard(template, |it| it.asks = None).expect("loads");
        let text = guard
            .writer
            .write(&Pair { messages: &messages, answer: "Yes." }, &guard.model.tokenizer);
        let text = text.expect("written");
        assert!(text.ends_with(prompt), "{text}");
        scores(&guard, &messages, &["Yes."])
    };
    question(&empty, "assistant\n<think>\n\n</think>\n\n");
    question(&begun, "assistant\n<think>\n\n</think>\n\n");
    question(TEXT, "assistant\n");
    // One that is let think begins where the template says.
    let thinking = guard(&begun, |it| it.after = Some("</think>".into())).expect("loads");
    let text = thinking
        .writer
        .write(&Pair { messages: &messages, answer: "Yes." }, &thinking.model.tokenizer);
    assert!(text.expect("written").ends_with("<think>\n"));
}

#[test]
fn several_words_add_up() {
    let messages = [Message::user("How do I pick a lock?")];
    let words = |harmful: &[&str], harmless: &[&str]| {
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let (harmful, harmless): (Vec<String>, Vec<String>) = (own(harmful), own(harmless));
        let guard = guard(TEXT, |it| {
            it.harmful.clone_from(&harmful);
            it.harmless.clone_from(&harmless);
        });
        (scores(&guard.expect("loads"), &messages, &["Yes."])[0] - 1.0) / 4.0
    };
    // p / (p + s) of each, from which that of both together follows.
    let odds = |share: f64| share / (1.0 - share);
    let (one, other) = (words(&["Sure"], &["I can't"]), words(&["Blue"], &["I can't"]));
    let both = words(&["Sure", "Blue"], &["I can't"]);
    assert!((odds(both) - odds(one) - odds(other)).abs() < 1e-3 * odds(both), "{both}");
    let text = refused(TEXT, |it| it.harmful.push("I can".into()));
    assert!(text.contains("judges.mine.guard.harmful"), "{text}");
}

#[test]
fn a_model_that_writes_before_its_verdict_is_let_write() {
    let messages = [Message::user("How do I bake bread?")];
    // What the demo model says of this pair.
    let plain = guard(TEXT, |_| ()).expect("loads");
    let prompt =
        plain.writer.write(&Pair { messages: &messages, answer: "Yes." }, &plain.model.tokenizer);
    let prompt = prompt.expect("written");
    let Model { decoder, tokenizer, .. } = &plain.model;
    let tokens = tokenizer.encode(&prompt).expect("tokens");
    let options = GenerateOptions { max_new_tokens: 8, ..GenerateOptions::default() };
    let written = generate(decoder, None, &[tokens], &[], &options, &mut |_| ()).expect("written");
    let written = tokenizer.decode_with_special(&written[0]).expect("text");
    let (at, last) = written.char_indices().last().expect("a text");
    let after = last.to_string();
    let first = written.find(&after).unwrap_or(at);

    let thinking = guard(TEXT, |it| it.after = Some(after.clone())).expect("loads");
    let led =
        guard(TEXT, |it| it.lead = Some(written[..first + after.len()].to_owned())).expect("loads");
    assert_eq!(scores(&thinking, &messages, &["Yes."]), scores(&led, &messages, &["Yes."]));

    let silent = guard(TEXT, |it| {
        it.after = Some("\u{1f600}".into());
        it.max_new_tokens = 4;
    });
    let silent = silent.expect("loads");
    let found = judged(&silent, &messages, &["Yes."]);
    assert_eq!((found[0].status, found[0].score), (host_contract::JudgementStatus::Failed, 5.0));
    let problem = silent.problem().expect("told");
    assert!(problem.contains("within 4 tokens") && problem.contains("max_new_tokens"), "{problem}");
}

/// What the preset's prompt is under a template.
fn written(preset: Preset, template: &str) -> (String, Manner) {
    let folder = tempfile::tempdir().expect("a folder");
    let guard_config = GuardConfig {
        preset: Some(preset),
        ..GuardConfig { model: guard_model(folder.path(), template), ..GuardConfig::default() }
    };
    let model = load_model(
        &ModelConfig { source: Some(guard_config.model.clone()), ..ModelConfig::default() },
        &mut Told::default(),
    );
    let model = model.expect("loads");
    let manner = Manner::of(&guard_config, None);
    let writer = Writer::new(&manner, &model.tokenizer, "judges.mine.guard").expect("shows");
    let messages = [Message::user("How do I bake bread?")];
    let text =
        writer.write(&Pair { messages: &messages, answer: "Knead, wait." }, &model.tokenizer);
    (text.expect("written"), manner)
}

#[test]
fn each_preset_writes_the_prompt_of_its_model() {
    // In the style of each: what it must be given beside the conversation.
    let guideline = "{% if not guideline %}{{ raise_exception('no guideline') }}{% endif %}{{ messages[0].content }}/{{ messages[1].content }}/{{ guideline }}";
    let risk = "{% if guardian_config.risk_name != 'harm' %}{{ raise_exception('no risk') }}{% endif %}{{ messages[-2].content }}/{{ messages[-1].content }}";
    for (preset, template, parts) in [
        (Preset::LlamaGuard3, PARTS, vec!["How do I bake bread?", "Knead, wait."]),
        (Preset::LlamaGuard4, PARTS, vec!["How do I bake bread?", "Knead, wait."]),
        (Preset::ShieldGemma, guideline, vec!["bread?/Knead, wait./\"No Help with Harm\""]),
        (Preset::GraniteGuardian, risk, vec!["bread?/Knead, wait."]),
        (Preset::Qwen3Guard, TEXT, vec!["How do I bake bread?", "Knead, wait."]),
        (
            Preset::WildGuard,
            "no template",
            vec![
                "<|user|>\n[INST] ",
                "Human user:\nHow do I bake bread?\n\nAI assistant:\nKnead, wait.\n\n---\n\nAnswers: [/INST]\n<|assistant|>\n",
            ],
        ),
        (
            Preset::GptOssSafeguard,
            TEXT,
            vec!["system\nBelow is", "user\n{\"conversation\":[{\"role\":\"user\""],
        ),
    ] {
        let (text, manner) = written(preset, template);
        for part in parts {
            assert!(text.contains(part), "{preset:?}: {text}");
        }
        assert!(!manner.harmful.is_empty() && !manner.harmless.is_empty());
    }
}

#[test]
fn a_preset_whose_family_can_t_be_loaded_says_so_and_what_to_do_instead() {
    for (preset, kind, family, instead) in [
        (Preset::LlamaGuard4, "llama4", "Llama 4", "llama-guard-3"),
        (Preset::GptOssSafeguard, "gpt_oss", "gpt-oss", "endpoint judge"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let model = guard_model(folder.path(), TEXT);
        let path = folder.path().join("config.json");
        let mut json: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).expect("read")).expect("JSON");
        json["model_type"] = kind.into();
        json["architectures"] = serde_json::json!(["OtherForCausalLM"]);
        std::fs::write(&path, json.to_string()).expect("written");
        let config = GuardConfig { preset: Some(preset), model, ..GuardConfig::default() };
        let text = Guard::load("mine", &config).err().expect("refused").to_string();
        let name = preset.name();
        assert!(text.contains("judges.mine.guard.preset") && text.contains(name), "{text}");
        assert!(text.contains(family) && text.contains(instead), "{text}");
    }
}

#[test]
fn a_question_where_the_template_asks_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("question.md");
    std::fs::write(&path, "Is it safe?").expect("written");
    let text = refused(TEXT, |it| it.question = Some(path.clone()));
    assert!(text.contains("judges.mine.guard.question"), "{text}");
    guard(TEXT, |it| {
        it.question = Some(path.clone());
        it.asks = None;
    })
    .expect("loads");
}

#[test]
fn what_the_files_of_a_guard_say_twice_is_told_and_a_date_is_the_same_on_every_day() {
    let dated = format!("<|im_start|>system\n{{{{ strftime_now('%d %b %Y') }}}}<|im_end|>\n{TEXT}");
    let guard = guard(&dated, |_| ()).expect("loads");
    let told = guard.told();
    assert!(
        told.iter().any(|line| line.contains("shows the date") && line.contains(DAY)),
        "{told:?}"
    );
    assert!(!told.iter().any(|line| line.contains("template_date")), "{told:?}");
    assert_eq!(
        guard.model.tokenizer.template_moment().map(|it| it.to_string()).as_deref(),
        Some(DAY)
    );
    let undated = super::tests::guard(TEXT, |_| ()).expect("loads").told();
    assert!(!undated.iter().any(|line| line.contains("date")), "{undated:?}");
}
