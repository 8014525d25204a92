//! What a run was made of: names and digests, for whoever signs it off.

use host_trainer::manifest::Manifest;
use serde::Serialize;

use crate::time::{date, length};

/// Data files that are named.
const FILES: usize = 100;

/// A name and what stands behind it, line by line.
#[derive(Debug, Serialize)]
pub struct Part {
    pub name: String,
    pub lines: Vec<String>,
}

/// What the manifest says.
pub fn of(manifest: &Manifest) -> Vec<Part> {
    let part = |name: &str, lines: Vec<String>| Part { name: name.into(), lines };
    let digest = |digest: &str| format!("sha256 {digest}");
    let mut parts = Vec::new();
    let model = &manifest.model;
    let base = model.base_sha256.iter().map(|base| format!("before its alignment: sha256 {base}"));
    let lines = [model.name.clone(), digest(&model.sha256)].into_iter().chain(base);
    parts.push(part("Model", lines.collect()));
    parts.push(part("Tokenizer", vec![digest(&model.tokenizer_sha256)]));
    for policy in &manifest.policies {
        let fitted =
            policy.parameters_sha256.iter().map(|it| format!("fitted parameters: sha256 {it}"));
        let lines = [
            format!("{} {}, from {}", policy.name, policy.version, policy.file),
            digest(&policy.sha256),
            format!("settings: {}", policy.settings),
        ];
        parts.push(part("Policy", lines.into_iter().chain(fitted).collect()));
    }
    for (name, sha256) in &manifest.judges {
        parts.push(part(&format!("Judge {name}"), vec![digest(sha256)]));
    }
    if let Some(sha256) = &manifest.steering_sha256 {
        parts.push(part("Steering vectors", vec![digest(sha256)]));
    }
    let files = manifest.data.iter().take(FILES).map(|file| match &file.sha256 {
        Some(sha256) => format!("{}: sha256 {sha256}", file.file),
        None => format!("{}: no digest", file.file),
    });
    let more = manifest.data.len().saturating_sub(FILES);
    let more = (more > 0).then(|| format!("and {more} more in manifest.json"));
    parts.push(part("Data", files.chain(more).collect()));
    parts.push(part(
        "Size",
        vec![format!(
            "{} samples, {} optimizer steps planned, seed {}",
            manifest.samples, manifest.steps, manifest.seed
        )],
    ));
    let began = format!("began {}", date(manifest.started));
    let ended = manifest.ended.map(|ended| {
        format!("ended {}, after {}", date(ended), length(ended.saturating_sub(manifest.started)))
    });
    parts.push(part("Time", std::iter::once(began).chain(ended).collect()));
    let isolated = manifest.sandbox.as_ref().map(|sandbox| {
        let isolated = serde_json::to_value(sandbox).unwrap_or_default();
        let own = isolated["isolated"] == serde_json::Value::Bool(true);
        if own {
            "policies ran in processes of their own"
        } else {
            "policies ran inside the program's process"
        }
        .to_owned()
    });
    let host = format!("host {}, {}", manifest.host, manifest.wit);
    parts.push(part("Program", std::iter::once(host).chain(isolated).collect()));
    parts
}
