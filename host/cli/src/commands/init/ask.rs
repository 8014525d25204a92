//! Questions on a terminal.

use std::io::IsTerminal as _;

use dialoguer::{Input, Select};

use super::file::Answers;

/// Policies to choose from at first, each with what it needs; `host policy list` has all.
const POLICIES: [(&str, &str); 4] = [
    ("builtin:anchored", "holds the model to its refusals on embedded prompts; needs nothing more"),
    ("builtin:probe", "risk of each row from activations; needs labelled prompts"),
    ("builtin:judge", "risk of each row from a judge; needs a judge in the configuration"),
    ("none", "plain fine-tuning"),
];

/// Whether a person is there to answer.
pub(super) fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks for what no flag has said.
pub(super) fn fill(answers: &mut Answers) -> anyhow::Result<()> {
    if answers.model.is_none() {
        let model =
            text("Model (folder, .gguf file or Hub id; empty for the embedded demo model)")?;
        answers.model = Some(model).filter(|model| !model.is_empty());
    }
    list(
        &mut answers.data,
        "Training data (files or Hub data sets, separated by blanks; empty for the demo data)",
    )?;
    if answers.policies.is_empty() {
        let shown = POLICIES.map(|(name, what)| format!("{name}: {what}"));
        let chosen = Select::new().with_prompt("Policy").items(shown).default(0).interact()?;
        answers.policies = vec![POLICIES[chosen].0.to_owned()];
    }
    if answers.policies.iter().any(|policy| policy.contains("probe")) && !answers.data.is_empty() {
        list(&mut answers.labelled, "Labelled prompts (rows of prompt and label 1 or 0)")?;
    }
    if !answers.data.is_empty() {
        list(
            &mut answers.harmful,
            "Harmful prompts to measure refusals with (empty for embedded ones)",
        )?;
        list(&mut answers.task, "Held-out rows to measure the task with (empty for none)")?;
    }
    Ok(())
}

fn text(question: &str) -> anyhow::Result<String> {
    let said: String = Input::new().with_prompt(question).allow_empty(true).interact_text()?;
    Ok(said.trim().to_owned())
}

fn list(files: &mut Vec<String>, question: &str) -> anyhow::Result<()> {
    if files.is_empty() {
        *files = text(question)?.split_whitespace().map(str::to_owned).collect();
    }
    Ok(())
}
