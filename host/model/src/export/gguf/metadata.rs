//! The shape of a model as GGUF metadata, as llama.cpp reads it.

use candle_core::quantized::gguf_file::Value;
use candle_core::{Device, Tensor};

use super::file::Metadata;
use super::own;
use crate::config::{Config, GgufKey, RopeScaling, llama3_kept, yarn_attention_factor};
use crate::error::{Error, Result};
use crate::families;

/// Architectures of which llama.cpp loads biases of the projections.
const WITH_BIASES: [&str; 2] = ["llama", "qwen2"];
/// Architectures of which llama.cpp loads `rope_freqs.weight`.
const WITH_DIVISORS: [&str; 1] = ["llama"];
/// Architectures of which llama.cpp loads `rope_factors_short.weight` and `rope_factors_long.weight`.
const WITH_TWO_DIVISORS: [&str; 2] = ["llama", "phi3"];
/// Architectures of which llama.cpp loads no head of its own, and those of which it asks for one.
const TIED: [&str; 2] = ["gemma", "gemma2"];
const UNTIED: [&str; 1] = ["olmo2"];
/// A result whose error is what is wrong with a field.
type Unfit<T> = std::result::Result<T, String>;

const ELSEWHERE: &str =
    "export with --merged, and use what loads Hugging Face folders (vLLM, transformers)";

/// What describes a model beside its weights and its tokenizer.
pub struct Shape {
    pub metadata: Metadata,
    /// Settings that GGUF stores as tensors.
    pub tensors: Vec<(String, Tensor)>,
    /// What llama.cpp does otherwise than this program.
    pub notices: Vec<String>,
}

impl Shape {
    fn set(&mut self, key: String, value: Value) {
        self.metadata.insert(key, value);
    }
}

/// The metadata of `config` under the name of an architecture.
///
/// # Errors
/// [`Error::Config`] for what llama.cpp doesn't compute for this architecture.
pub fn of(config: &Config, architecture: &str) -> Result<Shape> {
    let mut shape = Shape { metadata: Metadata::new(), tensors: vec![], notices: vec![] };
    let refuse = |field: &str, problem: String| {
        Err(Error::Config {
            file: config.family.class().to_owned(),
            field: field.to_owned(),
            problem,
            action: ELSEWHERE.to_owned(),
        })
    };
    let has_biases = config.qkv_bias || config.o_bias || config.mlp_bias;
    if has_biases && !WITH_BIASES.contains(&architecture) {
        let problem =
            format!("gives biases, which llama.cpp has none of for architecture `{architecture}`");
        return refuse("attention_bias", problem);
    }
    let unfit = if config.tie_embeddings { &UNTIED[..] } else { &TIED[..] };
    if unfit.contains(&architecture) {
        let problem = format!(
            "is {}, but llama.cpp loads models of architecture `{architecture}` {} a head of their own alone",
            config.tie_embeddings,
            if config.tie_embeddings { "with" } else { "without" }
        );
        return refuse("tie_word_embeddings", problem);
    }
    let key = |field: &str| format!("{architecture}.{field}");
    for (field, value) in [
        ("vocab_size", config.vocab_size),
        ("context_length", context(config)),
        ("embedding_length", config.hidden_size),
        ("block_count", config.num_layers),
        ("feed_forward_length", config.intermediate_size),
        ("attention.head_count", config.num_heads),
        ("attention.head_count_kv", config.num_kv_heads),
        ("attention.key_length", config.head_dim),
        ("attention.value_length", config.head_dim),
        ("rope.dimension_count", config.rotary_dim()),
    ] {
        // Sizes are checked to be far smaller when a configuration is read.
        shape.set(key(field), Value::U32(value as u32));
    }
    if let Some(experts) = &config.experts {
        if experts.layers.is_some() {
            let problem =
                format!("leaves layers dense, of which llama.cpp has none for `{architecture}`");
            return refuse("mlp_only_layers", problem);
        }
        if !experts.normalize {
            let problem =
                "is false; llama.cpp makes the weights of a token's experts sum to one".to_owned();
            return refuse("norm_topk_prob", problem);
        }
        for (field, value) in [
            ("expert_count", experts.count),
            ("expert_used_count", experts.per_token),
            ("expert_feed_forward_length", experts.intermediate_size),
        ] {
            shape.set(key(field), Value::U32(value as u32));
        }
    }
    shape.set(key("attention.layer_norm_rms_epsilon"), Value::F32(config.rms_norm_eps as f32));
    shape.set(key("rope.freq_base"), Value::F32(config.rope.theta as f32));
    // llama.cpp refuses some architectures without the key; 0 is no window.
    if !config.family.window_fields().is_empty() {
        let size = config.sliding_window.unwrap_or(0);
        shape.set(key("attention.sliding_window"), Value::U32(size as u32));
    }
    let family = families::find_gguf(architecture, config.experts.is_some());
    let reads_windows = family.is_some_and(|it| it.gguf_keys().contains(&GgufKey::Window));
    let window = config.sliding_window.filter(|it| *it < config.max_position);
    if let Some(window) = window.filter(|_| !reads_windows) {
        shape.notices.push(format!(
            "llama.cpp gives every token all before it: texts of more than {window} tokens, the sliding window of \
             the model, are computed otherwise there"
        ));
    }
    if let Err(problem) = scaling(config, architecture, &mut shape) {
        return refuse("rope_scaling", problem);
    }
    if let Some(family) = family {
        own::set(&mut shape.metadata, config, architecture, family);
        let text = Value::String(architecture.to_owned());
        shape.set("general.architecture".to_owned(), text);
        if let Some(field) = own::differs(&shape.metadata, config)? {
            let problem =
                format!("isn't what llama.cpp computes for architecture `{architecture}`");
            return refuse(field, problem);
        }
    }
    Ok(shape)
}

/// The longest text for which llama.cpp computes the same.
fn context(config: &Config) -> usize {
    match config.rope.scaling {
        RopeScaling::Dynamic { original_max_position, .. } => original_max_position,
        _ => config.max_position,
    }
}

fn scaling(config: &Config, architecture: &str, shape: &mut Shape) -> Unfit<()> {
    let key = |field: &str| format!("{architecture}.rope.scaling.{field}");
    let kind = |name: &str| Value::String(name.to_owned());
    let size = |size: usize| Value::U32(size as u32);
    match &config.rope.scaling {
        RopeScaling::None => {}
        RopeScaling::Linear { factor } => {
            shape.set(key("type"), kind("linear"));
            shape.set(key("factor"), Value::F32(*factor as f32));
        }
        RopeScaling::Dynamic { original_max_position, .. } => shape.notices.push(format!(
            "llama.cpp has no dynamic rope scaling: the file's context is the {original_max_position} tokens up to \
             which nothing is scaled"
        )),
        RopeScaling::Yarn {
            factor,
            original_max_position,
            attention_factor,
            beta_fast,
            beta_slow,
            truncate,
        } => {
            if (*beta_fast, *beta_slow, *truncate) != (32.0, 1.0, true) {
                return Err(format!(
                    "is yarn with beta_fast {beta_fast}, beta_slow {beta_slow} and truncate {truncate}; llama.cpp \
                     computes with 32, 1 and true"
                ));
            }
            let own = attention_factor / yarn_attention_factor(*factor, 1.0);
            shape.set(key("type"), kind("yarn"));
            shape.set(key("factor"), Value::F32(*factor as f32));
            shape.set(key("original_context_length"), size(*original_max_position));
            // A quotient of two equal numbers may differ from 1 in the last bit.
            if (own - 1.0).abs() > 1e-9 {
                shape.set(key("attn_factor"), Value::F32(own as f32));
            }
        }
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position,
        } => {
            let bounds = (*low_freq_factor, *high_freq_factor);
            let divisor = |frequency: f64| {
                let kept = llama3_kept(frequency, bounds, *original_max_position);
                1.0 / (kept + (1.0 - kept) / factor)
            };
            let dim = config.rotary_dim();
            let frequency = |pair: usize| config.rope.theta.powf(-2.0 * pair as f64 / dim as f64);
            let divisors: Vec<f64> = (0..dim / 2).map(|pair| divisor(frequency(pair))).collect();
            divide(architecture, shape, &divisors)?;
        }
        RopeScaling::Factors { factors } => divide(architecture, shape, factors)?,
        RopeScaling::LongRope {
            short_factor,
            long_factor,
            original_max_position,
            attention_factor,
        } => {
            if !WITH_TWO_DIVISORS.contains(&architecture) {
                return Err(no_place("longrope", architecture));
            }
            shape.set(key("type"), kind("longrope"));
            shape.set(key("original_context_length"), size(*original_max_position));
            shape.set(key("attn_factor"), Value::F32(*attention_factor as f32));
            for (name, factors) in [("short", short_factor), ("long", long_factor)] {
                add(shape, &format!("rope_factors_{name}.weight"), factors)?;
            }
            shape.notices.push(format!(
                "llama.cpp chooses the factors of longrope by the size of its context and not by the length of a \
                 text: run it with a context of at most {original_max_position} tokens for shorter texts"
            ));
        }
    }
    Ok(())
}

fn no_place(kind: &str, architecture: &str) -> String {
    format!("is {kind}, which llama.cpp doesn't read for architecture `{architecture}`")
}

fn divide(architecture: &str, shape: &mut Shape, divisors: &[f64]) -> Unfit<()> {
    if !WITH_DIVISORS.contains(&architecture) {
        return Err(no_place("one divisor per frequency", architecture));
    }
    add(shape, "rope_freqs.weight", divisors)
}

fn add(shape: &mut Shape, name: &str, values: &[f64]) -> Unfit<()> {
    let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
    let tensor = Tensor::new(values, &Device::Cpu).map_err(|error| error.to_string())?;
    shape.tensors.push((name.to_owned(), tensor));
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn config(more: &str) -> Config {
        let text = format!(
            r#"{{"vocab_size":96,"hidden_size":16,"intermediate_size":32,"num_hidden_layers":2,
            "num_attention_heads":4,"num_key_value_heads":2,"max_position_embeddings":64,"rms_norm_eps":1e-5,{more}}}"#
        );
        Config::from_json(&text, "config.json").unwrap()
    }

    #[test]
    fn llama_3_is_written_as_the_divisors_that_it_means() {
        let config = config(
            r#""model_type":"llama","head_dim":8,"rope_scaling":{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":32}"#,
        );
        let shape = of(&config, "llama").unwrap();
        let divisors: Vec<f32> = shape.tensors[0].1.to_vec1().unwrap();
        // 5.1 turns within 32 tokens are kept, half a turn and less divided.
        assert_eq!(divisors, [1.0, 8.0, 8.0, 8.0]);
        assert!(shape.notices.is_empty());
    }

    #[test]
    fn what_llama_cpp_does_not_compute_is_refused_by_name() {
        for (more, architecture, words) in [
            (
                r#""model_type":"qwen3","attention_bias":true"#,
                "qwen3",
                ["attention_bias", "biases"],
            ),
            (
                r#""model_type":"qwen2","rope_scaling":{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":32}"#,
                "qwen2",
                ["rope_scaling", "one divisor per frequency"],
            ),
            (
                r#""model_type":"qwen2","rope_scaling":{"rope_type":"yarn","factor":8.0,"beta_fast":16.0,"original_max_position_embeddings":32}"#,
                "qwen2",
                ["rope_scaling", "beta_fast 16"],
            ),
            (
                r#""model_type":"qwen3_moe","norm_topk_prob":true,"mlp_only_layers":[1]"#,
                "qwen3moe",
                ["mlp_only_layers", "leaves layers dense"],
            ),
            (
                r#""model_type":"gemma2","head_dim":8,"tie_word_embeddings":false"#,
                "gemma2",
                ["tie_word_embeddings", "is false"],
            ),
            (
                r#""model_type":"gemma2","head_dim":8,"query_pre_attn_scalar":8,"attn_logit_softcapping":null"#,
                "gemma2",
                ["attn_logit_softcapping", "isn't what llama.cpp computes"],
            ),
            // Without the keys llama.cpp takes caps of 50 and 30.
            (
                r#""model_type":"gemma2","head_dim":8,"query_pre_attn_scalar":8,"final_logit_softcapping":null"#,
                "gemma2",
                ["final_logit_softcapping", "isn't what llama.cpp computes"],
            ),
            (
                r#""model_type":"gemma","head_dim":8,"tie_word_embeddings":false"#,
                "gemma",
                ["tie_word_embeddings", "is false"],
            ),
            (
                r#""model_type":"olmo2","tie_word_embeddings":true"#,
                "olmo2",
                ["tie_word_embeddings", "is true"],
            ),
            (
                r#""model_type":"qwen3_moe","norm_topk_prob":false"#,
                "qwen3moe",
                ["norm_topk_prob", "sum to one"],
            ),
        ] {
            let message = of(&config(more), architecture).err().unwrap().to_string();
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
            assert!(message.contains("--merged"), "{message}");
        }
    }

    #[test]
    fn what_llama_cpp_computes_otherwise_is_told() {
        for (more, architecture, words) in [
            (r#""model_type":"mistral","sliding_window":16"#, "llama", "more than 16 tokens"),
            (
                r#""model_type":"llama","rope_scaling":{"rope_type":"dynamic","factor":2.0}"#,
                "llama",
                "no dynamic rope scaling",
            ),
        ] {
            let shape = of(&config(more), architecture).unwrap();
            assert!(shape.notices.iter().any(|line| line.contains(words)), "{:?}", shape.notices);
        }
    }
}
