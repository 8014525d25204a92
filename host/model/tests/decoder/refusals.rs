//! What does not fit is refused with a message that says so.

use candle_core::{DType, Device, Tensor};
use host_model::config::QkNorm;
use host_model::{
    Config, Decoder, HeadRows, Kernels, Lora, LoraConfig, Packed, RopeScaling, TapRows, Target,
};

use crate::random;

fn message<T>(result: host_model::Result<T>) -> String {
    let text = result.err().expect("a refusal").to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

const SMOLLM2: &str = r#"{"model_type": "llama", "vocab_size": 49152, "hidden_size": 576,
    "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "rms_norm_eps": 1e-5, "rope_theta": 100000,
    "max_position_embeddings": 8192, "tie_word_embeddings": true, "hidden_act": "silu",
    "bos_token_id": 1, "eos_token_id": [2, 0], "rope_scaling": null}"#;

#[test]
fn a_configuration_is_read_or_refused_by_field() {
    let config = Config::from_json(SMOLLM2, "config.json").unwrap();
    assert_eq!((config.head_dim, config.kv_size()), (64, 192));
    assert_eq!((config.bos, config.eos), (Some(1), vec![2, 0]));
    assert!(config.tie_embeddings && !config.qkv_bias && config.sliding_window.is_none());
    for (from, to, field) in [
        (r#""vocab_size": 49152,"#, "", "vocab_size"),
        (r#""llama""#, r#""mamba""#, "model_type"),
        (r#""silu""#, r#""gelu""#, "hidden_act"),
        (r#""num_key_value_heads": 3"#, r#""num_key_value_heads": 2"#, "num_key_value_heads"),
        (r#""rope_scaling": null"#, r#""rope_scaling": {"rope_type": "yarn"}"#, "rope_scaling"),
        ("1e-5", r#""small""#, "rms_norm_eps"),
        ("576", "0", "hidden_size"),
        ("8192", "-1", "max_position_embeddings"),
    ] {
        let text = SMOLLM2.replace(from, to);
        assert_ne!(text, SMOLLM2);
        let error = message(Config::from_json(&text, "config.json"));
        assert!(error.contains(field) && error.starts_with("config.json"), "{error}");
    }
    assert!(message(Config::from_json("{", "config.json")).contains("JSON"));
}

#[test]
fn families_differ_in_what_they_read() {
    let family = |name: &str, more: &str| {
        let text = SMOLLM2
            .replace("\"llama\"", &format!("\"{name}\""))
            .replace("\"bos_token_id\": 1,", more);
        Config::from_json(&text, "config.json").unwrap()
    };
    assert!(family("qwen2", "").qkv_bias);
    assert!(!family("qwen2", "").o_bias);
    assert_eq!(family("qwen2", r#""sliding_window": 32,"#).sliding_window, None);
    let windowed = r#""sliding_window": 32, "use_sliding_window": true, "max_window_layers": 7,"#;
    let qwen = family("qwen2", windowed);
    assert_eq!((qwen.window(6), qwen.window(7)), (None, Some(32)));
    assert_eq!(family("mistral", r#""sliding_window": 32,"#).window(0), Some(32));
    let qwen = family("qwen3", r#""head_dim": 128,"#);
    assert!(qwen.qk_norm == QkNorm::Head && qwen.head_dim == 128 && qwen.q_size() == 9 * 128);
}

#[test]
fn rotation_scaling_is_read_in_both_spellings() {
    let with = |scaling: &str| {
        let text = SMOLLM2.replace("\"rope_scaling\": null", scaling);
        Config::from_json(&text, "config.json").unwrap().rope
    };
    let old = with(
        r#""rope_scaling": {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}"#,
    );
    assert!(matches!(old.scaling, RopeScaling::Llama3 { factor: 32.0, .. }));
    let new = with(r#""rope_parameters": {"rope_type": "linear", "factor": 2.0}"#);
    assert_eq!(new.scaling, RopeScaling::Linear { factor: 2.0 });
    let factors = format!("{:?}", vec![1.5; 32]);
    let long = with(&format!(
        r#""original_max_position_embeddings": 4096, "rope_scaling": {{"type": "longrope",
        "short_factor": {factors}, "long_factor": {factors}}}"#
    ));
    let RopeScaling::LongRope { attention_factor, .. } = long.scaling else {
        panic!("longrope expected");
    };
    // sqrt(1 + ln 2 / ln 4096) = sqrt(13 / 12)
    assert!((attention_factor - (13.0f64 / 12.0).sqrt()).abs() < 1e-12);
}

#[test]
fn weights_of_another_shape_are_named() {
    let config = random::llama();
    let mut weights = random::weights(&config, 1);
    weights.layers[1].k.weight = Tensor::zeros((4, 4), DType::F32, &Device::Cpu).unwrap().into();
    let error = message(Decoder::new(config.clone(), weights, Kernels::Plain));
    assert!(error.contains("layers.1.k_proj"), "{error}");
    let mut weights = random::weights(&config, 1);
    weights.layers[0].q.bias = Some(weights.final_norm.clone());
    let error = message(Decoder::new(config.clone(), weights, Kernels::Plain));
    assert!(error.contains("bias"), "{error}");
    let mut untied = config;
    untied.tie_embeddings = false;
    let weights = random::weights(&random::llama(), 1);
    let error = message(Decoder::new(untied, weights, Kernels::Plain));
    assert!(error.contains("lm_head"), "{error}");
}

#[test]
fn fused_kernels_refuse_other_types() {
    let config = random::llama();
    let weights = random::double(&config).weights.clone();
    let error = message(Decoder::new(config, weights, Kernels::Fused));
    assert!(error.contains("F64"), "{error}");
}

#[test]
fn batches_that_do_not_fit_are_refused() {
    let config = random::llama();
    let decoder = random::decoder(&config, Kernels::Fused);
    let run = |batch: &Packed, taps: &[TapRows]| message(decoder.forward(batch, None, taps));
    let good = Packed::from_sequences(&[[1u32, 2, 3]]);
    assert!(decoder.forward(&good, None, &[]).is_ok());
    assert!(run(&Packed::from_sequences(&[[97u32]]), &[]).contains("97"));
    let empty: [&[u32]; 2] = [&[1], &[]];
    assert!(run(&Packed::from_sequences(&empty), &[]).contains("sequence 1"));
    let long = vec![1u32; 513];
    assert!(run(&Packed::from_sequences(&[long]), &[]).contains("513"));
    let crooked = Packed { tokens: vec![1, 2], starts: vec![0, 3] };
    assert!(run(&crooked, &[]).contains("starts"));
    let tap = |layer: usize, rows: std::ops::Range<usize>| [TapRows { layer, rows: vec![rows] }];
    assert!(run(&good, &tap(4, 0..1)).contains("layer 4"));
    assert!(run(&good, &tap(1, 1..4)).contains("1..4"));
    assert!(run(&good, &tap(1, 1..1)).contains("1..1"));
}

#[test]
fn adapters_that_do_not_fit_are_refused() {
    let config = random::llama();
    let settings = LoraConfig::new;
    let make = |settings| Lora::new(&config, settings, 1, &Device::Cpu);
    assert!(message(make(settings(0, 1.0, &[Target::Q]))).contains("rank"));
    assert!(message(make(settings(1, f64::NAN, &[Target::Q]))).contains("alpha"));
    assert!(message(make(settings(1, 1.0, &[]))).contains("targets"));
    assert!(message(make(settings(1, 1.0, &[Target::Q, Target::Q]))).contains("twice"));
    let lora = make(settings(2, 4.0, &[Target::Q])).unwrap();
    let tensors = || {
        let copies = lora.named().map(|(name, var)| (name.to_string(), var.as_detached_tensor()));
        copies.collect::<std::collections::BTreeMap<_, _>>()
    };
    let load = |tensors| Lora::from_tensors(&config, lora.shape().clone(), tensors, &Device::Cpu);
    assert!(load(tensors()).is_ok());
    let name = "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight";
    let mut missing = tensors();
    let taken = missing.remove(name).unwrap();
    assert!(message(load(missing)).contains(name));
    let mut unknown = tensors();
    unknown.insert("other".into(), taken);
    assert!(message(load(unknown)).contains("other"));
    let other = Lora::new(&random::qwen3(), settings(2, 4.0, &[Target::Q]), 1, &Device::Cpu);
    let decoder = random::decoder(&config, Kernels::Fused);
    let batch = Packed::from_sequences(&[[1u32]]);
    assert!(message(decoder.forward(&batch, Some(&other.unwrap()), &[])).contains("adapter"));
}

#[test]
fn loss_rows_that_do_not_fit_are_refused() {
    let decoder = random::decoder(&random::llama(), Kernels::Fused);
    let hidden = Tensor::zeros((2, 48), DType::F32, &Device::Cpu).unwrap();
    let one = hidden.narrow(0, 0, 1).unwrap();
    let run = |hidden: &Tensor, reference: Option<&Tensor>, labels: &[u32], task: &[f32]| {
        decoder.head_loss(HeadRows {
            hidden,
            reference,
            labels,
            task_weights: task,
            kl_weights: &[0.5, 0.5],
            subset: None,
        })
    };
    assert!(run(&hidden, Some(&hidden), &[1, 2], &[0.5, 0.5]).is_ok());
    assert!(message(run(&hidden, Some(&one), &[1, 2], &[0.5, 0.5])).contains("reference"));
    assert!(message(run(&hidden, None, &[1], &[0.5, 0.5])).contains("label"));
    assert!(message(run(&hidden, None, &[1, 97], &[0.5, 0.5])).contains("97"));
    assert!(message(run(&hidden, None, &[1, 2], &[0.5])).contains("weight"));
    assert!(message(run(&hidden, None, &[1, 2], &[0.5, f32::NAN])).contains("NaN"));
    let narrow = hidden.narrow(1, 0, 4).unwrap();
    assert!(message(run(&narrow, None, &[1, 2], &[0.5, 0.5])).contains("shape"));
}
