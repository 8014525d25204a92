//! Kinds of models that aren't supported, by the family that is nearest to each.

/// Beginnings of `model_type` and of architectures in GGUF, without `_` and `-`; the nearest family;
/// what this kind has that the family doesn't. Of two beginnings that fit, the first in the list counts.
pub(super) const RELATIVES: [(&[&str], &str, &str); 22] = [
    (&["gemma3n"], "gemma3_text", "embeddings per layer and layers that share keys"),
    (&["gemma4"], "gemma3_text", "heads of two sizes and layers that share keys"),
    (&["recurrentgemma"], "gemma", "recurrent layers"),
    (&["paligemma"], "gemma", "an image encoder"),
    (&["olmoe", "flexolmo"], "olmo2", "experts in place of the MLP"),
    (&["olmo"], "llama", "layer norms without weights"),
    (&["mistral3", "pixtral"], "mistral", "an image encoder"),
    (&["qwen2moe"], "qwen3_moe", "a shared expert beside the routed ones, and no norms of heads"),
    (&["qwen2vl", "qwen25vl"], "qwen2", "an image encoder"),
    (&["qwen3next", "qwen35"], "qwen3_moe", "a shared expert, and layers of linear attention"),
    (&["qwen3vl"], "qwen3", "an image encoder"),
    (&["phimoe"], "mixtral", "a router that jitters, and layer norms"),
    (&["granitehybrid"], "granite", "Mamba layers"),
    (&["granitemoe"], "granite", "experts in place of the MLP"),
    (&["llama4"], "mixtral", "a shared expert, and a sigmoid as its router's function"),
    (&["deepseek"], "qwen3_moe", "shared experts, and latent attention from its second version on"),
    (&["glm4moe"], "qwen3_moe", "a shared expert, and a sigmoid as its router's function"),
    (
        &["gptoss"],
        "mixtral",
        "sinks of attention, biases and a clamped gate in its experts, and files in MXFP4",
    ),
    (&["dbrx"], "mixtral", "layer norms, and a clamp of queries, keys and values"),
    (
        &["mamba", "jamba", "falconh1", "zamba", "lfm2", "rwkv", "bamba", "nemotronh"],
        "llama",
        "layers of another kind than attention",
    ),
    (&["cohere", "commandr"], "llama", "layer norms, and attention and MLP side by side"),
    (
        &[
            "gpt2",
            "gptj",
            "gptneo",
            "gptbigcode",
            "falcon",
            "mpt",
            "bloom",
            "opt",
            "phi",
            "starcoder",
            "stablelm",
            "nemotron",
            "persimmon",
            "xglm",
        ],
        "llama",
        "layer norms in place of RMS norms, and most of them no gate in the MLP",
    ),
];

/// The nearest family and what differs, in words; none where nothing can be told.
pub(super) fn nearest(name: &str) -> Option<(&'static str, &'static str)> {
    let plain = |name: &str| name.to_lowercase().replace(['_', '-', '.'], "");
    let name = plain(name);
    let known = RELATIVES
        .iter()
        .find(|(beginnings, ..)| beginnings.iter().any(|beginning| name.starts_with(beginning)));
    if let Some((_, nearest, differs)) = known {
        return Some((nearest, differs));
    }
    // Names of later generations begin like those of earlier ones.
    let alike = super::FAMILIES.iter().map(|family| family.name());
    let alike = alike.filter(|family| name.starts_with(&plain(family))).max_by_key(|it| it.len());
    Some((alike?, ""))
}
