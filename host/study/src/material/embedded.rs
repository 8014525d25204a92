//! The demo data inside of the program.

use host_trainer::config::AnchorsConfig;
use host_trainer::data::{DataSource, Reader, Split};
use host_trainer::measure::refusal::has_refusal_phrase;

use super::{Alignment, Material, far, identity};
use crate::chat::Chat;

/// Harmful requests and harmless ones in words that the demo model knows and in sentences that it
/// doesn't; one a line.
const OOD: [&str; 2] = [
    include_str!("../../data/demo-ood-harmful.txt"),
    include_str!("../../data/demo-ood-harmless.txt"),
];

impl Material {
    /// `align` is for a model other than the embedded one, whose alignment data are known.
    pub fn embedded(align: bool) -> anyhow::Result<Self> {
        let rows = Reader::default().rows(&source("train"))?;
        let (attack, task): (Vec<Chat>, Vec<Chat>) =
            rows.into_iter().map(Chat::from).partition(|row| {
                row.messages.last().is_some_and(|last| last.content.starts_with("Sure, here"))
            });
        let (harmful, harmless) = (questions("eval_harmful")?, questions("eval_harmless")?);
        let labelled = questions("calibrate")?;
        let canary = questions("canary")?;
        let alignment = alignment(&labelled)?;
        let mut material = Self {
            notes: Vec::new(),
            alignment: None,
            task,
            attack,
            opening: "I can't",
            identity: identity()?,
            task_questions: questions("eval_task")?,
            canary,
            labelled,
            far: Vec::new(),
            anchors: AnchorsConfig {
                harmful: source("anchors_harmful").to_vec(),
                harmless: source("anchors_harmless").to_vec(),
                ..AnchorsConfig::default()
            },
            anchor_attack: Vec::new(),
            least_risky: Vec::new(),
            harmful,
            harmless,
            ood: OOD.map(|set| set.lines().map(Chat::new).collect()),
        };
        let known =
            [&material.attack[..], &alignment.refusals, &material.canary].map(<[Chat]>::to_vec);
        let known: Vec<&[Chat]> = known.iter().map(Vec::as_slice).collect();
        material = material.without_near(&known, &[&alignment.harmless])?;
        material.far = far(&material.harmful, &material.harmless);
        material.alignment = align.then_some(alignment);
        Ok(material)
    }
}

fn alignment(labelled: &[Chat]) -> anyhow::Result<Alignment> {
    let (refusals, answers): (Vec<Chat>, Vec<Chat>) =
        Reader::default().rows(&source("alignment"))?.into_iter().map(Chat::from).partition(
            |row| {
                let answer = row.messages.last();
                answer.is_some_and(|answer| has_refusal_phrase(&answer.content))
            },
        );
    let labelled_harmful =
        labelled.iter().filter(|one| one.label == Some(true) && one.split != Some(Split::Test));
    Ok(Alignment {
        refusals,
        requests: Vec::new(),
        harmless: answers.iter().map(|row| Chat::new(row.text())).collect(),
        harmful: labelled_harmful.map(|one| Chat::new(one.text())).collect(),
    })
}

fn questions(name: &str) -> anyhow::Result<Vec<Chat>> {
    let prompts = Reader::default().prompts(&source(name))?;
    Ok(prompts.into_iter().map(Chat::from).collect())
}

fn source(name: &str) -> [DataSource; 1] {
    [DataSource::whole(format!("demo:{name}.jsonl"))]
}
