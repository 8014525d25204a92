//! Metadata of a GGUF file that nothing reads.

use candle_core::quantized::gguf_file::Value;

use crate::gguf::{open, refused, text, told, with};
use crate::tiny;

#[test]
fn keys_that_change_the_computation_are_refused_by_name_and_others_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let list = |numbers: &[u32]| Value::Array(numbers.iter().copied().map(Value::U32).collect());
    for (field, value) in [
        ("expert_used_count", Value::U32(2)),
        ("logit_scale", Value::F32(0.5)),
        ("residual_scale", Value::F32(0.2)),
        ("embedding_scale", Value::F32(12.0)),
        ("attn_logit_softcapping", Value::F32(50.0)),
        ("final_logit_softcapping", Value::F32(30.0)),
        ("attention.scale", Value::F32(0.01)),
        ("attention.causal", Value::Bool(false)),
        ("attention.clamp_kqv", Value::F32(8.0)),
        ("attention.max_alibi_bias", Value::F32(8.0)),
        ("attention.q_lora_rank", Value::U32(16)),
        ("attention.something_new", Value::U32(3)),
        ("attention.value_length", Value::U32(4)),
        ("rope.dimension_sections", list(&[4, 2, 2, 0])),
        ("rope.freq_base_swa", Value::F32(5000.0)),
        ("rope.scaling.something_new", Value::F32(3.0)),
        ("use_parallel_residual", Value::Bool(true)),
        ("hidden_activation", text("gelu")),
        ("leading_dense_block_count", Value::U32(1)),
        ("nextn_predict_layers", Value::U32(1)),
        ("ssm.inner_size", Value::U32(64)),
        ("feed_forward_length", list(&[tiny::INNER as u32, 8, 8, 8])),
        ("attention.head_count_kv", list(&[2, 1])),
    ] {
        refused(&with(dir, &[(&format!("llama.{field}"), value)]), &format!("llama.{field}"));
    }
    refused(&with(dir, &[("general.type", text("adapter"))]), "the file isn't a model");

    let scale = 1.0 / (tiny::HEAD_DIM as f32).sqrt();
    let path = with(
        dir,
        &[
            ("general.type", text("model")),
            ("general.quantized_by", text("someone")),
            ("general.file_type", Value::U32(1)),
            ("quantize.imatrix.file", text("a.dat")),
            ("llama.expert_count", Value::U32(0)),
            ("llama.logit_scale", Value::F32(1.0)),
            ("llama.attention.scale", Value::F32(scale)),
            ("llama.attention.causal", Value::Bool(true)),
            ("llama.attention.value_length", Value::U32(tiny::HEAD_DIM as u32)),
            ("llama.rope.dimension_sections", list(&[0, 0, 0, 0])),
            ("llama.rope.scaling.finetuned", Value::Bool(false)),
            ("llama.hidden_activation", text("silu")),
            ("llama.use_parallel_residual", Value::Bool(false)),
            ("llama.tensor_data_layout", text("Meta AI original pth")),
            ("llama.attention.head_count_kv", list(&[tiny::KV_HEADS as u32; 2])),
        ],
    );
    assert_eq!(open(&path).unwrap().notices, Vec::<String>::new());

    let mut others = vec![
        ("llama.pooling_type", Value::U32(1)),
        ("general.sampling.temp", Value::F32(0.7)),
        ("qwen2.expert_count", Value::U32(8)),
        ("training.note\u{1b}[8m", text("x")),
    ];
    let names: Vec<String> = (0..9).map(|number| format!("x.{number}")).collect();
    others.extend(names.iter().map(|name| (name.as_str(), Value::U32(0))));
    let words = ["keys that nothing reads: ", "llama.pooling_type", "qwen2.expert_count", "5 more"];
    let model = told(&with(dir, &others), &words);
    assert!(model.notices.iter().all(|line| !line.contains('\u{1b}')));
}
