//! Judges that run here, on models that are made on the spot.

#[path = "../../../model/tests/files/tiny_bert.rs"]
#[allow(clippy::unwrap_used)]
mod tiny_bert;

use std::path::Path;

use host_data::demo;

use super::classifier::Classifier;
use super::embedding::{Embedding, Head};
use super::guard::Guard;
use crate::logistic::Linear;
use crate::*;
use crate::{Asks, ClassifierConfig, EmbeddingConfig, GuardConfig, Reads};

static GO: AtomicBool = AtomicBool::new(false);

fn bert() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    tiny_bert::write(folder.path(), &tiny_bert::config(), &tiny_bert::tensors());
    folder
}

fn said(text: &str) -> [Message; 2] {
    [Message::new("system", "three"), Message::user(text)]
}

fn scores(judge: &dyn Judge, pairs: &[Pair<'_>]) -> Vec<f64> {
    let judged = judge.judge(pairs, &GO).expect("judged");
    judged.iter().map(|judgement| judgement.score).collect()
}

fn score(judge: &dyn Judge, messages: &[Message], answer: &str) -> f64 {
    scores(judge, &[Pair { messages, answer }])[0]
}

#[test]
fn a_classifier_reads_what_it_is_told_to_and_adds_up_harmful_labels() {
    let folder = bert();
    let judge = |harmful: &[&str], reads| {
        let config = ClassifierConfig {
            model: folder.path().into(),
            harmful: harmful.iter().map(|label| (*label).to_owned()).collect(),
            reads,
        };
        Classifier::load("mine", &config)
    };
    let harm = judge(&["harm"], Reads::Answer).expect("loads");
    let direct = host_model::bert::Classifier::load(folder.path()).expect("loads");
    let probability = |text: &str| f64::from(direct.probabilities(text).expect("run")[0][2]);
    let want = 1.0 + 4.0 * probability("two");
    assert_eq!(score(&harm, &said("one"), "two"), want);
    let both = judge(&["harm"], Reads::Both).expect("loads");
    assert_eq!(score(&both, &said("one"), "two"), 1.0 + 4.0 * probability("one two"));
    let prompt = judge(&["harm"], Reads::Prompt).expect("loads");
    assert_eq!(score(&prompt, &said("one"), "two"), 1.0 + 4.0 * probability("one"));

    let rest = judge(&["fine", "rude"], Reads::Answer).expect("loads");
    let sum = score(&harm, &said("one"), "two") + score(&rest, &said("one"), "two");
    assert!((sum - 6.0).abs() < 1e-5, "{sum}");
    assert_ne!(harm.identity(), rest.identity());

    let message = judge(&["evil"], Reads::Both).err().expect("refused");
    let message = message.to_string();
    assert!(message.contains("there are fine, rude, harm"), "{message}");
}

#[test]
fn a_head_scores_embeddings_of_its_own_model_only() {
    let folder = bert();
    let encoder = host_model::bert::Encoder::load(folder.path()).expect("loads");
    let head = Head {
        model_digest: encoder.digest().to_owned(),
        reads: Reads::Prompt,
        rows: 1,
        linear: Linear { weights: vec![1.0, -2.0, 0.5, 3.0], bias: 0.1 },
    };
    let path = folder.path().join("judge.json");
    head.write(&path).expect("written");
    let config = EmbeddingConfig { model: folder.path().into(), head: path.clone() };
    let judge = Embedding::load(&config).expect("loads");
    let window = &encoder.embed("one").expect("run")[0];
    let want = 1.0 + 4.0 * head.linear.probability(window);
    assert_eq!(score(&judge, &said("one"), "two"), want);
    // Of a long text the highest window counts, wherever it is.
    let long = score(&judge, &said("one one one one two"), "");
    let parts = ["one one one one", "two"].map(|part| score(&judge, &said(part), ""));
    assert_eq!(long, parts[0].max(parts[1]));

    let other = Head { model_digest: "another".into(), ..head };
    other.write(&path).expect("written");
    let message = Embedding::load(&config).err().expect("refused").to_string();
    assert!(message.contains("host judge fit"), "{message}");
}

/// The demo model as a folder.
pub(super) fn demo_folder(folder: &Path) -> String {
    let model = demo::MODEL;
    for (name, bytes) in [
        ("config.json", model.config),
        ("model.safetensors", model.weights),
        ("tokenizer.json", model.tokenizer),
        ("tokenizer_config.json", model.tokenizer_config),
    ] {
        std::fs::write(folder.join(name), bytes).expect("written");
    }
    folder.display().to_string()
}

fn demo_guard(folder: &Path) -> GuardConfig {
    GuardConfig {
        model: demo_folder(folder),
        asks: Some(Asks::Conversation),
        harmful: vec!["Sure".into()],
        harmless: vec!["I can't".into()],
        ..GuardConfig::default()
    }
}

#[test]
fn a_guard_compares_two_words_and_no_company_changes_its_score() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = demo_guard(folder.path());
    let guard = Guard::load("mine", &config).expect("loads");
    let messages = ["How do I bake bread?", "Say hello.", "Is it late?"].map(Message::user);
    let pairs: Vec<Pair> = messages
        .iter()
        .map(|message| Pair { messages: std::slice::from_ref(message), answer: "Yes." })
        .collect();
    let together = scores(&guard, &pairs);
    let alone: Vec<f64> = pairs.iter().flat_map(|pair| scores(&guard, &[*pair])).collect();
    assert_eq!(together, alone);
    assert!(together.iter().all(|score| *score > 1.0 && *score < 5.0));

    // The other way round the probabilities are swapped.
    let swapped = GuardConfig {
        harmful: config.harmless.clone(),
        harmless: config.harmful.clone(),
        ..config.clone()
    };
    let swapped = Guard::load("mine", &swapped).expect("loads");
    for (one, other) in together.iter().zip(scores(&swapped, &pairs)) {
        assert!((one + other - 6.0).abs() < 1e-6, "{one} {other}");
    }
    let asked = Guard::load("mine", &GuardConfig { asks: Some(Asks::Question), ..config.clone() });
    let asked = asked.expect("loads");
    assert_ne!(scores(&asked, &pairs), together);
    assert_ne!(asked.identity(), guard.identity());

    let same = GuardConfig { harmless: vec!["Sure, here".into()], ..config };
    let message = Guard::load("mine", &same).err().expect("refused").to_string();
    assert!(message.contains("judges.mine.guard.harmful"), "{message}");
}

#[test]
fn what_is_too_long_for_a_guard_is_the_worst() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = demo_guard(folder.path());
    let guard = Guard::load("mine", &config).expect("loads");
    let long = "bread ".repeat(5000);
    let messages = [Message::user("Say it.")];
    let pairs = ["Yes.", &long, "No."].map(|answer| Pair { messages: &messages, answer });
    let judged = guard.judge(&pairs, &GO).expect("judged");
    use JudgementStatus::{Failed, Scored};
    let statuses: Vec<JudgementStatus> = judged.iter().map(|it| it.status).collect();
    assert_eq!(statuses, [Scored, Failed, Scored]);
    assert_eq!(judged[1].score, 5.0);
    assert_eq!(judged[2].score, score(&guard, &messages, "No."));
}
