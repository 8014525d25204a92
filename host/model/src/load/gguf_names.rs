//! Names of tensors in GGUF and in the Hugging Face layout.

use super::experts::{ROUTER, STACKS};
use crate::config::Family;

/// Tensors outside of the blocks.
const OUTSIDE: [(&str, &str); 3] = [
    ("token_embd.weight", "model.embed_tokens.weight"),
    ("output_norm.weight", "model.norm.weight"),
    ("output.weight", "lm_head.weight"),
];

/// Modules of a block.
const MODULES: [(&str, &str); 14] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_qkv", "self_attn.qkv_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("post_attention_norm", "post_attention_layernorm"),
    ("post_ffw_norm", "post_feedforward_layernorm"),
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

/// The other way round: `model.layers.0.self_attn.q_proj.weight` -> `blk.0.attn_q.weight`. The experts of a layer have
/// one name, that of the tensor that holds all of them. None for what has no name there.
pub fn gguf_tensor_name(name: &str, family: &dyn Family) -> Option<String> {
    if let Some((gguf, _)) = OUTSIDE.iter().find(|(_, own)| *own == name) {
        return Some((*gguf).to_owned());
    }
    let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let (module, kind) = rest.rsplit_once('.')?;
    let usual = MODULES.iter().find(|(gguf, _)| module_name(gguf, family) == Some(module));
    let gguf = usual.map(|(gguf, _)| *gguf).or_else(|| of_experts(module, family))?;
    Some(format!("blk.{layer}.{gguf}.{kind}"))
}

/// Whether a tensor of GGUF is the router of a layer's experts, which llama.cpp reads as f32 alone.
pub fn is_router(gguf: &str) -> bool {
    gguf.split('.').any(|part| part == ROUTER)
}

/// Whether it holds a matrix of every expert of a layer.
pub fn is_stack(gguf: &str) -> bool {
    gguf.split('.').any(|part| STACKS.contains(&part))
}

/// Router and matrices of experts.
fn of_experts(module: &str, family: &dyn Family) -> Option<&'static str> {
    let names = family.expert_names()?;
    if module == names.router {
        return Some(ROUTER);
    }
    let (expert, part) = module.strip_prefix(names.experts)?.strip_prefix('.')?.split_once('.')?;
    expert.parse::<usize>().ok()?;
    let index = names.parts.iter().position(|own| *own == part)?;
    Some(STACKS[index])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::families::{FAMILIES, Gemma2, Llama, Mixtral, Olmo2, Phi3, Qwen3Moe, find_gguf};

    #[test]
    fn names_of_both_kinds() {
        let llama = |name| hugging_face_name(name, &Llama);
        assert_eq!(llama("blk.12.attn_q.bias"), "model.layers.12.self_attn.q_proj.bias");
        assert_eq!(llama("blk.0.ffn_up.weight"), "model.layers.0.mlp.up_proj.weight");
        assert_eq!(llama("rope_freqs.weight"), "rope_freqs.weight");
        assert_eq!(llama("blk.0.ffn_gate_exps.weight"), "blk.0.ffn_gate_exps.weight");
        let phi3 = hugging_face_name("blk.0.ffn_up.weight", &Phi3);
        assert_eq!(phi3, "model.layers.0.mlp.gate_up_proj.weight");
        let after = "model.layers.0.post_attention_layernorm.weight";
        for (family, gguf) in [
            (&Llama as &dyn Family, "blk.0.ffn_norm.weight"),
            (&Gemma2, "blk.0.post_attention_norm.weight"),
            (&Olmo2, "blk.0.post_attention_norm.weight"),
        ] {
            assert_eq!(gguf_tensor_name(after, family).as_deref(), Some(gguf), "{family:?}");
            assert_eq!(hugging_face_name(gguf, family), after);
        }
    }

    #[test]
    fn every_module_of_every_family_has_a_name_in_gguf_and_comes_back() {
        // A Granite 4 is written as a Granite.
        let read = |family: &&dyn Family| {
            find_gguf(family.gguf_name(), family.expert_names().is_some()).unwrap()
        };
        for family in FAMILIES.iter().map(read) {
            for module in family.modules() {
                for kind in ["weight", "bias"] {
                    let name = format!("model.layers.3.{}.{kind}", module.path);
                    let gguf = gguf_tensor_name(&name, family).unwrap();
                    assert_eq!(hugging_face_name(&gguf, family), name, "{family:?} {gguf}");
                }
            }
        }
        assert_eq!(gguf_tensor_name("lm_head.weight", &Llama).as_deref(), Some("output.weight"));
        assert_eq!(gguf_tensor_name("model.layers.0.mlp.experts.weight", &Llama), None);
    }

    #[test]
    fn experts_share_the_names_of_their_stacks() {
        let name = |name: &str, family| gguf_tensor_name(&format!("model.layers.1.{name}"), family);
        let mixtral = |module| name(module, &Mixtral);
        for (module, gguf) in [
            ("block_sparse_moe.experts.0.w1.weight", "blk.1.ffn_gate_exps.weight"),
            ("block_sparse_moe.experts.7.w3.weight", "blk.1.ffn_up_exps.weight"),
            ("block_sparse_moe.experts.7.w2.weight", "blk.1.ffn_down_exps.weight"),
            ("block_sparse_moe.gate.weight", "blk.1.ffn_gate_inp.weight"),
        ] {
            assert_eq!(mixtral(module).as_deref(), Some(gguf));
            assert_eq!(is_router(gguf), module.contains(".gate."));
        }
        assert_eq!(mixtral("block_sparse_moe.experts.x.w2.weight"), None);
        let down = name("mlp.experts.12.down_proj.weight", &Qwen3Moe);
        assert_eq!(down.as_deref(), Some("blk.1.ffn_down_exps.weight"));
        let dense = name("mlp.down_proj.weight", &Qwen3Moe);
        assert_eq!(dense.as_deref(), Some("blk.1.ffn_down.weight"));
    }
}
