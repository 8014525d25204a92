//! The real SmolLM2, where a file is at hand: set HOST_TEST_SMOLLM2 to its GGUF.

use std::fs::File;
use std::path::PathBuf;

use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Tensor};
use candle_transformers::models::quantized_llama;
use host_model::load::GgufTensors;
use host_model::{
    Config, Decoder, GatedWeights, Kernels, LayerWeights, Linear, MlpWeights, Packed, Weights,
};

use crate::random::{flat, relative};

struct Gguf {
    content: Content,
    file: File,
}

impl Gguf {
    fn open(path: &PathBuf) -> Self {
        let mut file = File::open(path).unwrap();
        let content = Content::read(&mut file).unwrap();
        Self { content, file }
    }

    fn tensor(&mut self, name: &str) -> Tensor {
        let tensor = self.content.tensor(&mut self.file, name, &Device::Cpu);
        tensor.unwrap().dequantize(&Device::Cpu).unwrap()
    }

    fn linear(&mut self, name: &str) -> Linear {
        Linear { weight: self.tensor(name).into(), bias: None }
    }

    /// GGUF interleaves the two halves of every rotated head.
    fn rotated(&mut self, name: &str, heads: usize) -> Linear {
        let weight = self.tensor(name);
        let (out, input) = weight.dims2().unwrap();
        let split = weight.reshape((heads, out / heads / 2, 2, input)).unwrap();
        let turned = split.transpose(1, 2).unwrap().contiguous().unwrap();
        Linear { weight: turned.reshape((out, input)).unwrap().into(), bias: None }
    }

    fn weights(&mut self, config: &Config) -> Weights {
        let layers = (0..config.num_layers)
            .map(|index| {
                let name = |part: &str| format!("blk.{index}.{part}.weight");
                LayerWeights {
                    attn_norm: Some(self.tensor(&name("attn_norm"))),
                    attn_out_norm: None,
                    q: self.rotated(&name("attn_q"), config.num_heads),
                    k: self.rotated(&name("attn_k"), config.num_kv_heads),
                    v: self.linear(&name("attn_v")),
                    o: self.linear(&name("attn_output")),
                    q_norm: None,
                    k_norm: None,
                    mlp_norm: Some(self.tensor(&name("ffn_norm"))),
                    mlp_out_norm: None,
                    mlp: MlpWeights::Dense(GatedWeights {
                        gate: self.linear(&name("ffn_gate")),
                        up: self.linear(&name("ffn_up")),
                        down: self.linear(&name("ffn_down")),
                    }),
                }
            })
            .collect();
        Weights {
            embed: self.tensor("token_embd.weight").into(),
            layers,
            final_norm: self.tensor("output_norm.weight"),
            head: None,
        }
    }
}

/// Our logits follow those of candle's quantized model, whose weights are
/// multiplied with activations of eight bits (hence 0.06; a wrong layout gives
/// more than 0.5); the fused ones follow the plain ones.
#[test]
#[ignore = "needs HOST_TEST_SMOLLM2"]
fn smollm2_logits_follow_candles_quantized_model() {
    let path = std::env::var_os("HOST_TEST_SMOLLM2").map(PathBuf::from);
    let path = path.expect("HOST_TEST_SMOLLM2 names the file");
    let mut gguf = Gguf::open(&path);
    let tensors = GgufTensors::default();
    let (config, _) = Config::from_gguf(&gguf.content.metadata, &tensors, "the file").unwrap();
    assert_eq!((config.num_layers, config.hidden_size), (30, 576));
    let weights = gguf.weights(&config);
    let tokens = [504u32, 3575, 282, 4649, 314];
    let batch = Packed::from_sequences(&[tokens]);
    let [fused, plain] = [Kernels::Fused, Kernels::Plain].map(|kernels| {
        let decoder = Decoder::new(config.clone(), weights.clone(), kernels).unwrap();
        let hidden = decoder.forward(&batch, None, &[]).unwrap().hidden;
        let last = hidden.narrow(0, tokens.len() - 1, 1).unwrap();
        decoder.logits(&last).unwrap().flatten_all().unwrap()
    });
    assert!(relative(&fused, &plain) < 1e-4);
    let Gguf { content, mut file } = Gguf::open(&path);
    let mut theirs =
        quantized_llama::ModelWeights::from_gguf(content, &mut file, &Device::Cpu).unwrap();
    let input = Tensor::new(&tokens, &Device::Cpu).unwrap();
    let expected = theirs.forward(&input.unsqueeze(0).unwrap(), 0).unwrap();
    let gap = relative(&fused, &expected.flatten_all().unwrap());
    assert!(gap < 0.06, "{gap}");
    let best = |logits: &Tensor| {
        let values = flat(logits);
        (0..values.len()).max_by(|a, b| values[*a].total_cmp(&values[*b]))
    };
    assert_eq!(best(&fused), best(&expected));
}
