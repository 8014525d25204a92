"""Compares logits of tiny random models in GGUF files with those of transformers.

The files are written as llama.cpp's converter writes them: names of tensors are those of the `gguf` package, heads of
query and key are interleaved where llama.cpp rotates neighbours, norms of Gemma hold what rows are multiplied with. Any
difference above 1e-4 fails.

    cargo build --release --workspace --example peft_parity
    python3 tests/peft/gguf_files.py [path of peft_parity]

Without torch, transformers, peft and gguf it says so and ends with code 77.
"""

import math
import pathlib
import sys
import tempfile

try:
    import gguf
    import torch
    import transformers
    from tokenizers import pre_tokenizers
except ImportError as missing:
    print(f"SKIPPED: {missing}; pip install torch transformers peft gguf")
    sys.exit(77)

import parity

NAMES = {"mistral": "llama", "mixtral": "llama", "qwen3_moe": "qwen3moe", "gemma3_text": "gemma3", "olmo3": "olmo2"}
INTERLEAVED = {"llama", "mistral", "mixtral", "smollm3", "granite"}


def configurations():
    """What GGUF can say of each family: the pattern of layers is llama.cpp's."""
    t = transformers
    sizes = dict(parity.SIZES)
    layers = lambda count: dict(sizes, num_hidden_layers=count)
    yield "llama", t.LlamaConfig(**sizes)
    yield "llama3", t.LlamaConfig(**sizes, rope_parameters=parity.LLAMA3_ROPE, tie_word_embeddings=True)
    yield "mistral", t.MistralConfig(**sizes, sliding_window=None)
    yield "qwen2", t.Qwen2Config(**sizes, tie_word_embeddings=True)
    yield "qwen3", t.Qwen3Config(**sizes, head_dim=32)
    yield "phi3", t.Phi3Config(**sizes, original_max_position_embeddings=256, sliding_window=None)
    part = dict(partial_rotary_factor=0.75, rope_type="default", rope_theta=10000.0)
    yield "phi4-mini", t.Phi3Config(**sizes, sliding_window=None, rope_parameters=part)
    yield "gemma", t.GemmaConfig(**sizes, head_dim=32)
    caps = dict(attn_logit_softcapping=3.0, final_logit_softcapping=5.0)
    yield "gemma2", t.Gemma2Config(**sizes, head_dim=32, query_pre_attn_scalar=32, sliding_window=8, **caps)
    local = dict(
        full_attention=dict(rope_type="linear", factor=8.0, rope_theta=1e6),
        sliding_attention=dict(rope_type="default", rope_theta=1e4),
    )
    windows = dict(head_dim=32, query_pre_attn_scalar=32, sliding_window=8, rope_parameters=local)
    yield "gemma3", t.Gemma3TextConfig(**layers(7), **windows)
    yield "olmo2", t.Olmo2Config(**sizes)
    yarn = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=64, rope_theta=500000.0)
    local = dict(full_attention=yarn, sliding_attention=dict(rope_type="default", rope_theta=500000.0))
    yield "olmo3", t.Olmo3Config(**layers(5), sliding_window=8, rope_parameters=local)
    yield "smollm3", t.SmolLM3Config(**layers(5))
    scales = dict(embedding_multiplier=3.0, attention_multiplier=0.1, residual_multiplier=0.4, logits_scaling=2.0)
    yield "granite", t.GraniteConfig(**sizes, **scales, tie_word_embeddings=True)
    yield "mixtral", t.MixtralConfig(**sizes, num_local_experts=5)
    experts = dict(head_dim=32, num_experts=12, num_experts_per_tok=3, moe_intermediate_size=48)
    yield "qwen3-moe", t.Qwen3MoeConfig(**sizes, **experts, norm_topk_prob=True)


def describe(file, config):
    """The metadata of the model."""
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    file.add_block_count(config.num_hidden_layers)
    file.add_context_length(config.max_position_embeddings)
    file.add_embedding_length(config.hidden_size)
    file.add_feed_forward_length(config.intermediate_size)
    file.add_head_count(config.num_attention_heads)
    file.add_head_count_kv(config.num_key_value_heads)
    file.add_key_length(head)
    file.add_value_length(head)
    file.add_layer_norm_rms_eps(config.rms_norm_eps)
    rope = config.rope_parameters
    rope = rope.get("full_attention", rope)
    file.add_rope_freq_base(rope["rope_theta"])
    file.add_rope_dimension_count(int(head * rope.get("partial_rotary_factor", 1.0)))
    if rope["rope_type"] in ("linear", "yarn"):
        file.add_rope_scaling_type(gguf.RopeScalingType(rope["rope_type"]))
        file.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "yarn":
        file.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if config.model_type in ("gemma2", "gemma3_text", "olmo3"):
        file.add_sliding_window(config.sliding_window)
    if config.model_type == "gemma2":
        file.add_attn_logit_softcapping(config.attn_logit_softcapping)
        file.add_final_logit_softcapping(config.final_logit_softcapping)
    if config.model_type == "granite":
        file.add_embedding_scale(config.embedding_multiplier)
        file.add_attention_scale(config.attention_multiplier)
        file.add_residual_scale(config.residual_multiplier)
        file.add_logit_scale(config.logits_scaling)
    if hasattr(config, "num_experts_per_tok"):
        file.add_expert_count(getattr(config, "num_local_experts", None) or config.num_experts)
        file.add_expert_used_count(config.num_experts_per_tok)
    if hasattr(config, "moe_intermediate_size"):
        file.add_expert_feed_forward_length(config.moe_intermediate_size)
    add_tokenizer(file)
    return rope


def add_tokenizer(file):
    """Loading a model needs one; these tests speak in token ids."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    # llama.cpp takes no list without merges.
    tokens = alphabet + ["ab"] + [f"<unused{i}>" for i in range(parity.VOCABULARY - len(alphabet) - 1)]
    file.add_tokenizer_model("gpt2")
    file.add_tokenizer_pre("gpt-2")
    file.add_token_list(tokens)
    file.add_token_types([gguf.TokenType.NORMAL] * len(tokens))
    file.add_token_merges(["a b"])
    file.add_eos_token_id(2)


def interleaved(values, heads):
    """The two halves of every head line by line."""
    return values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


def tensors(model, config):
    """Names in GGUF and values."""
    architecture = NAMES.get(config.model_type, config.model_type)
    kind = next(kind for kind, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(kind, config.num_hidden_layers)
    for name, value in model.state_dict().items():
        value = value.float().numpy()
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if name.endswith("experts.gate_up_proj"):
            half = value.shape[1] // 2
            stem = name.removesuffix("gate_up_proj")
            yield names.get_name(stem + "gate_proj") + ".weight", value[:, :half]
            yield names.get_name(stem + "up_proj") + ".weight", value[:, half:]
            continue
        if name.endswith("experts.down_proj"):
            yield names.get_name(name) + ".weight", value
            continue
        if config.model_type in INTERLEAVED and "q_proj" in name:
            value = interleaved(value, config.num_attention_heads)
        if config.model_type in INTERLEAVED and "k_proj" in name:
            value = interleaved(value, config.num_key_value_heads)
        if config.model_type.startswith("gemma") and name.endswith("norm.weight"):
            value = value + 1
        stem, end = name.rsplit(".", 1)
        yield f"{names.get_name(stem)}.{end}", value


def llama3_factors(config, rope):
    """What the frequencies are divided by."""
    low = rope["original_max_position_embeddings"] / rope["low_freq_factor"]
    high = rope["original_max_position_embeddings"] / rope["high_freq_factor"]
    head = config.hidden_size // config.num_attention_heads
    for i in range(0, head, 2):
        length = 2 * math.pi * rope["rope_theta"] ** (i / head)
        smooth = (rope["original_max_position_embeddings"] / length - rope["low_freq_factor"]) / (
            rope["high_freq_factor"] - rope["low_freq_factor"]
        )
        yield 1.0 if length < high else rope["factor"] if length > low else 1 / ((1 - smooth) / rope["factor"] + smooth)


def write(path, model, config):
    file = gguf.GGUFWriter(path, NAMES.get(config.model_type, config.model_type))
    rope = describe(file, config)
    if rope["rope_type"] == "llama3":
        file.add_tensor("rope_freqs.weight", torch.tensor(list(llama3_factors(config, rope))).numpy())
    for name, value in tensors(model, config):
        file.add_tensor(name, value.copy())
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


def main():
    print(f"transformers {transformers.__version__}, gguf from {pathlib.Path(gguf.__file__).parent.name}, torch {torch.__version__}")
    failures = 0
    for name, config in configurations():
        with tempfile.TemporaryDirectory() as work:
            path = pathlib.Path(work) / "tiny.gguf"
            model = parity.random_model(config)
            write(path, model, config)
            difference = (parity.host_logits(path) - parity.python_logits(model)).abs().max().item()
            good = difference <= parity.TOLERANCE
            failures += not good
            print(f"{'ok' if good else 'FAILED':6} {name:12} largest difference {difference:.1e}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
