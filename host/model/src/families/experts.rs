//! What families with experts have in common, and why others aren't served.

use crate::config::Fields;
use crate::error::Result;

/// Tells which settings of a router's training aren't used: routers are frozen.
pub(super) fn note_training(json: &Fields) -> Result<()> {
    if json.flag("output_router_logits")? {
        let what = "is true, but the load-balancing loss isn't added: routers are frozen";
        json.note("output_router_logits", what);
    }
    if let Some(noise) = json.number("router_jitter_noise")?.filter(|noise| *noise != 0.0) {
        json.note("router_jitter_noise", format!("is {noise} and isn't added: routers are frozen"));
    }
    Ok(())
}

/// The number of experts, which versions of transformers name differently; `absent` without either name.
pub(super) fn count(json: &Fields, absent: usize) -> Result<usize> {
    let [one, other] = COUNT_FIELDS;
    match (json.size(one)?, json.size(other)?) {
        (Some(count), Some(another)) if count != another => {
            let problem = format!("is {another}, but `{one}` is {count}");
            Err(json.fail(other, problem, "keep the one that the weights have"))
        }
        (count, another) => Ok(count.or(another).unwrap_or(absent)),
    }
}

/// What [`count`] reads.
pub(super) const COUNT_FIELDS: [&str; 2] = ["num_experts", "num_local_experts"];

/// Families with experts that have something more, by `model_type` and by the architecture of GGUF.
const UNSERVED: [(&[&str], &str); 8] = [
    (&["qwen2_moe", "qwen2moe"], "its layers have a shared expert beside the routed ones"),
    (&["qwen3_next", "qwen3next"], "its layers have a shared expert and linear attention"),
    (&["deepseek_v2", "deepseek2"], "its layers have shared experts and latent attention"),
    (&["deepseek_v3"], "its layers have shared experts and latent attention"),
    (
        &["gpt_oss", "gpt-oss"],
        "its attention has sinks, its experts have biases and a clamped gate, its files are MXFP4",
    ),
    (&["granitemoe", "granitemoehybrid"], "its scores, embeddings and outputs are scaled"),
    (&["phimoe"], "its router jitters and its norms are layer norms"),
    (&["llama4_text", "llama4"], "its layers have a shared expert, its router a sigmoid"),
];

/// What a family with experts has that isn't served, if it is one that is known for it.
pub(super) fn unserved(name: &str) -> Option<&'static str> {
    UNSERVED.iter().find(|(names, _)| names.contains(&name)).map(|(_, why)| *why)
}
