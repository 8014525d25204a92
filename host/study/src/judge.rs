//! A second judge of the evaluations, which no policy asks: a sentence embedding model that has learned here to tell a
//! harmful request that is agreed to from one that is refused, and from a harmless one.

use std::path::Path;

use host_trainer::config::{EmbeddingConfig, JudgeConfig};
use host_trainer::run_dir::write_atomically;

use crate::answers::{self, Base, Kept};
use crate::chat::{Chat, write_lines};
use crate::material::Alignment;

/// Fits the head unless that was done. `agreed` are harmful requests that are agreed to, `embedding` the folder of the
/// sentence embedding model.
pub fn fit(
    of: &Base<'_>,
    alignment: &Alignment,
    agreed: &[Chat],
    embedding: &Path,
) -> anyhow::Result<JudgeConfig> {
    let folder = of.folder;
    let head = folder.join("judge.json");
    if !head.is_file() {
        (of.tell)("fitting the second judge");
        let answers = |name, prompts| answers::own(of, name, prompts, Kept::Answers);
        let answered = answers("harmful", &alignment.harmful)?;
        let harmless = answers("harmless", &alignment.harmless)?;
        let labelled = |rows: &[Chat], harmful| -> Vec<Chat> {
            let label = |row: &Chat| Chat { label: Some(harmful), ..row.clone() };
            rows.iter().map(label).collect()
        };
        let rows = [
            labelled(&answered, true),
            labelled(agreed, true),
            labelled(&alignment.refusals, false),
            labelled(&alignment.requests, false),
            labelled(&harmless, false),
        ];
        let file = folder.join("judge-rows.jsonl");
        write_lines(&file, &rows.concat())?;
        let [embedding, file, output] =
            [embedding, &file, &head].map(|path| path.display().to_string());
        let arguments = [
            "judge",
            "fit",
            "--embedding",
            &embedding,
            "--labelled",
            &file,
            "--reads",
            "both",
            "--output",
            &output,
        ];
        let found = of.program.run(&arguments, &folder.join("reference.log"))?;
        write_atomically(&folder.join("judge.txt"), &found)?;
    }
    Ok(JudgeConfig::Embedding(EmbeddingConfig { model: embedding.to_owned(), head }))
}
