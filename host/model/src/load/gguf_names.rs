//! Names of tensors in GGUF and in the Hugging Face layout.

use crate::config::Family;

/// Tensors outside of the blocks.
const OUTSIDE: [(&str, &str); 3] = [
    ("token_embd.weight", "model.embed_tokens.weight"),
    ("output_norm.weight", "model.norm.weight"),
    ("output.weight", "lm_head.weight"),
];

/// Modules of a block.
const MODULES: [(&str, &str); 12] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_qkv", "self_attn.qkv_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// `blk.0.attn_q.weight` -> `model.layers.0.self_attn.q_proj.weight`; unknown names stay as they are.
pub fn hugging_face_name(name: &str, family: &dyn Family) -> String {
    if let Some((_, own)) = OUTSIDE.iter().find(|(gguf, _)| *gguf == name) {
        return (*own).to_owned();
    }
    let translated = name.strip_prefix("blk.").and_then(|rest| {
        let (layer, rest) = rest.split_once('.')?;
        let (module, kind) = rest.rsplit_once('.')?;
        Some(format!("model.layers.{layer}.{}.{kind}", module_name(module, family)?))
    });
    translated.unwrap_or_else(|| name.to_owned())
}

fn module_name(module: &str, family: &dyn Family) -> Option<&'static str> {
    let usual = || MODULES.iter().find(|(gguf, _)| *gguf == module).map(|(_, own)| *own);
    family.gguf_module(module).or_else(usual)
}

/// The other way round: `model.layers.0.self_attn.q_proj.weight` -> `blk.0.attn_q.weight`. None for what has no name
/// there.
pub fn gguf_name(name: &str, family: &dyn Family) -> Option<String> {
    if let Some((gguf, _)) = OUTSIDE.iter().find(|(_, own)| *own == name) {
        return Some((*gguf).to_owned());
    }
    let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let (module, kind) = rest.rsplit_once('.')?;
    let (gguf, _) = MODULES.iter().find(|(gguf, _)| module_name(gguf, family) == Some(module))?;
    Some(format!("blk.{layer}.{gguf}.{kind}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::families::{FAMILIES, Llama, Phi3};

    #[test]
    fn names_of_both_kinds() {
        let llama = |name| hugging_face_name(name, &Llama);
        assert_eq!(llama("blk.12.attn_q.bias"), "model.layers.12.self_attn.q_proj.bias");
        assert_eq!(llama("blk.0.ffn_up.weight"), "model.layers.0.mlp.up_proj.weight");
        assert_eq!(llama("rope_freqs.weight"), "rope_freqs.weight");
        assert_eq!(llama("blk.0.ffn_gate_exps.weight"), "blk.0.ffn_gate_exps.weight");
        let phi3 = hugging_face_name("blk.0.ffn_up.weight", &Phi3);
        assert_eq!(phi3, "model.layers.0.mlp.gate_up_proj.weight");
    }

    #[test]
    fn every_module_of_every_family_has_a_name_in_gguf_and_comes_back() {
        for family in FAMILIES {
            for module in family.modules() {
                for kind in ["weight", "bias"] {
                    let name = format!("model.layers.3.{}.{kind}", module.path);
                    let gguf = gguf_name(&name, family).unwrap();
                    assert_eq!(hugging_face_name(&gguf, family), name, "{family:?} {gguf}");
                }
            }
        }
        assert_eq!(gguf_name("lm_head.weight", &Llama).as_deref(), Some("output.weight"));
        assert_eq!(gguf_name("model.layers.0.mlp.experts.weight", &Llama), None);
    }
}
