//! The demo data inside of the program.

use host_trainer::data::{DataSource, Split, read_prompts, read_rows};

use super::{Chat, Material, identity};

impl Material {
    pub fn embedded() -> anyhow::Result<Self> {
        let rows = read_rows(&source("train"), 0)?;
        let (attack, task) = rows.into_iter().map(Chat::from).partition(|row| {
            row.messages
                .last()
                .is_some_and(|last| last.content.starts_with("Sure, here"))
        });
        let (harmful, harmless) = (questions("eval_harmful")?, questions("eval_harmless")?);
        let far = |questions: &[Chat], label| -> Vec<Chat> {
            let far = |question: &Chat| question.labelled(label, Split::Test);
            questions.iter().map(far).collect()
        };
        Ok(Self {
            alignment: None,
            task,
            attack,
            identity: identity()?,
            task_questions: questions("eval_task")?,
            canary: questions("canary")?,
            labelled: questions("calibrate")?,
            far: [far(&harmful, true), far(&harmless, false)].concat(),
            harmful,
            harmless,
        })
    }
}

fn questions(name: &str) -> anyhow::Result<Vec<Chat>> {
    let prompts = read_prompts(&source(name), 0)?;
    Ok(prompts.into_iter().map(Chat::from).collect())
}

fn source(name: &str) -> [DataSource; 1] {
    [DataSource::whole(format!("demo:{name}.jsonl"))]
}
