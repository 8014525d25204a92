//! What families with experts have in common.

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
