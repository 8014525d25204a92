//! The demo data inside of the program.

use host_trainer::data::{DataSource, Reader, Split};
use host_trainer::measure::refusal::has_refusal_phrase;

use super::{Alignment, Chat, Material, identity};

impl Material {
    /// `align` is for a model other than the embedded one, which is aligned already.
    pub fn embedded(align: bool) -> anyhow::Result<Self> {
        let rows = Reader::default().rows(&source("train"))?;
        let (attack, task) = rows.into_iter().map(Chat::from).partition(|row| {
            row.messages.last().is_some_and(|last| last.content.starts_with("Sure, here"))
        });
        let (harmful, harmless) = (questions("eval_harmful")?, questions("eval_harmless")?);
        let far = |questions: &[Chat], label| -> Vec<Chat> {
            let far = |question: &Chat| question.labelled(label, Split::Test);
            questions.iter().map(far).collect()
        };
        let labelled = questions("calibrate")?;
        let alignment = align.then(|| alignment(&labelled)).transpose()?;
        Ok(Self {
            alignment,
            task,
            attack,
            opening: "I can't",
            identity: identity()?,
            task_questions: questions("eval_task")?,
            canary: questions("canary")?,
            labelled,
            far: [far(&harmful, true), far(&harmless, false)].concat(),
            harmful,
            harmless,
        })
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
