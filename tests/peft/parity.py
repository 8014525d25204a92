"""Compares the host with Python's transformers and peft on tiny random models.

For every family: logits of the base model; of an adapter that the host wrote and peft loads; of an adapter that peft
wrote and the host loads; of a merged model that the host wrote and transformers loads; and the gradients of an adapter,
with the fused and with the plain kernels. Any difference above 1e-4 fails, of gradients relative to the largest of a tensor.
The last lines are a table of the differences, in Markdown.

    cargo build --release --workspace --example peft_parity
    python3 tests/peft/parity.py [path of peft_parity]

Without torch, transformers and peft it says so and ends with code 77.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

try:
    import peft
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers
except ImportError as missing:
    print(f"SKIPPED: {missing}; pip install torch transformers peft")
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
HOST = sys.argv[1] if len(sys.argv) > 1 else str(TARGET / "release/examples/peft_parity")
TOLERANCE = 1e-4
VOCABULARY = 300
PROMPTS = [[1, 2, 3, 4, 5, 6, 7], [299, 17, 17], [42], list(range(100, 200))]
SIZES = dict(
    vocab_size=VOCABULARY,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=256,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
    # Large enough that logits differ in more than the last digits.
    initializer_range=0.2,
)
SEPARATE = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ATTENTION = SEPARATE[:4]
HALF_FUSED = ["q_proj", "k_proj", "v_proj", "o_proj", "input_linear", "output_linear"]
FUSED = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]

LLAMA3_ROPE = dict(
    rope_type="llama3",
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=32,
    rope_theta=10000.0,
)


def longrope(length):
    return dict(
        rope_type="longrope",
        short_factor=[1.0 + 0.1 * i for i in range(8)],
        long_factor=[1.5 + 0.5 * i for i in range(8)],
        original_max_position_embeddings=length,
        rope_theta=10000.0,
    )


def configurations():
    """Name, configuration class and fields, and the modules that peft adapts."""
    t = transformers
    rope = "rope_parameters" if int(t.__version__.split(".")[0]) >= 5 else "rope_scaling"
    yield "llama", t.LlamaConfig(**SIZES), SEPARATE
    yield "llama3", t.LlamaConfig(**SIZES, **{rope: LLAMA3_ROPE}, tie_word_embeddings=True), SEPARATE
    yield "llama-bias", t.LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True), SEPARATE
    yield "mistral", t.MistralConfig(**SIZES, sliding_window=8), SEPARATE
    yield "qwen2", t.Qwen2Config(**SIZES, tie_word_embeddings=True), SEPARATE
    yield "qwen3", t.Qwen3Config(**SIZES, head_dim=32), SEPARATE
    yield "phi3", t.Phi3Config(**SIZES, original_max_position_embeddings=256), FUSED
    # Experts and their router are frozen.
    yield "mixtral", t.MixtralConfig(**SIZES, num_local_experts=5), ATTENTION
    yield "mixtral-win", t.MixtralConfig(**SIZES, num_local_experts=5, sliding_window=8), ATTENTION
    experts = dict(head_dim=32, num_experts=12, num_experts_per_tok=3, moe_intermediate_size=48)
    yield "qwen3-moe", t.Qwen3MoeConfig(**SIZES, **experts, norm_topk_prob=True), ATTENTION
    yield "qwen3-moe-mix", t.Qwen3MoeConfig(**SIZES, **experts, mlp_only_layers=[1]), ATTENTION
    # The prompt of 100 tokens is beyond the original length and takes the long factors, the others the short ones.
    long = longrope(64)
    yield "phi3-long", t.Phi3Config(**SIZES, original_max_position_embeddings=64, **{rope: long}), FUSED
    part = dict(long, short_factor=long["short_factor"][:6], long_factor=long["long_factor"][:6], partial_rotary_factor=0.75)
    yield "phi4-mini", t.Phi3Config(**SIZES, original_max_position_embeddings=64, **{rope: part}), FUSED
    yield "phi4", t.Phi3Config(**SIZES, sliding_window=None), FUSED
    yield "gemma", t.GemmaConfig(**SIZES, head_dim=32), SEPARATE
    caps = dict(attn_logit_softcapping=3.0, final_logit_softcapping=5.0)
    yield "gemma2", t.Gemma2Config(**SIZES, head_dim=32, query_pre_attn_scalar=20, sliding_window=8, **caps), SEPARATE
    windows = dict(head_dim=32, query_pre_attn_scalar=20, sliding_window=8)
    local = dict(full_attention=dict(rope_type="linear", factor=8.0, rope_theta=1e6), sliding_attention=dict(rope_type="default", rope_theta=1e4))
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    yield "gemma3", t.Gemma3TextConfig(**SIZES, **windows, layer_types=kinds, rope_parameters=local), SEPARATE
    yield "gemma3-caps", t.Gemma3TextConfig(**SIZES, **windows, layer_types=kinds, **caps), SEPARATE
    yield "olmo2", t.Olmo2Config(**SIZES), SEPARATE
    yarn = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=64, rope_theta=500000.0)
    local = dict(full_attention=yarn, sliding_attention=dict(rope_type="default", rope_theta=500000.0))
    kinds = ["sliding_attention", "sliding_attention", "full_attention"]
    yield "olmo3", t.Olmo3Config(**SIZES, sliding_window=8, layer_types=kinds, rope_parameters=local), SEPARATE
    yield "smollm3", t.SmolLM3Config(**SIZES, no_rope_layers=[1, 0, 1]), SEPARATE
    scales = dict(embedding_multiplier=3.0, attention_multiplier=0.1, residual_multiplier=0.4, logits_scaling=2.0)
    yield "granite", t.GraniteConfig(**SIZES, **scales, tie_word_embeddings=True), SEPARATE
    dense = dict(shared_intermediate_size=80, num_local_experts=0, layer_types=["full_attention"] * 3, mamba_n_heads=1)
    for name, positions in ("granite4", "rope"), ("granite4-nope", None):
        config = t.GraniteMoeHybridConfig(**SIZES, **scales, **dense, position_embedding_type=positions)
        yield name, config, HALF_FUSED


def host(*arguments):
    done = subprocess.run([HOST, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"FAILED: peft_parity {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


def host_logits(model, adapter="-"):
    return torch.tensor(json.loads(host("logits", model, adapter, json.dumps(PROMPTS))))


@torch.no_grad()
def python_logits(model):
    # One prompt at a time: no padding that could matter.
    return torch.stack([model(torch.tensor([prompt])).logits[0, -1].float() for prompt in PROMPTS])


def write_tokenizer(folder):
    """Loading a model needs one; these tests speak in token ids."""
    vocabulary = {f"t{i}": i for i in range(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="t0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))


def read(folder):
    # Only this way of attention has soft caps.
    kind = dict(dtype=torch.float32, attn_implementation="eager")
    return transformers.AutoModelForCausalLM.from_pretrained(folder, **kind).eval()


def peft_adapter(model, modules, folder):
    """An adapter with random A and B, as peft saves it."""
    config = peft.LoraConfig(
        r=4, lora_alpha=6, target_modules=modules, task_type="CAUSAL_LM", init_lora_weights=False
    )
    adapted = peft.get_peft_model(model, config).eval()
    adapted.save_pretrained(folder)
    return python_logits(adapted)


def stored(parameter):
    """The name that a parameter of peft's has in a file."""
    return parameter.replace(".default", "").replace("lora_magnitude_vector.weight", "lora_magnitude_vector")


def gradients(model_folder, adapter):
    """Largest difference of any tensor's gradient, relative to its largest value, with both kinds of kernels."""
    model = peft.PeftModel.from_pretrained(read(model_folder), adapter, is_trainable=True)
    prompts = [prompt for prompt in PROMPTS if len(prompt) > 1]
    for prompt in prompts:
        ids = torch.tensor([prompt])
        model(input_ids=ids, labels=ids).loss.backward()
    expected = {stored(name): p.grad for name, p in model.named_parameters() if p.requires_grad}
    worst = 0.0
    for found in json.loads(host("gradients", model_folder, adapter, json.dumps(prompts))):
        assert found.keys() == expected.keys(), found.keys() ^ expected.keys()
        for name, values in found.items():
            grad = expected[name]
            gap = (torch.tensor(values) - grad.flatten()).abs().max()
            worst = max(worst, (gap / grad.abs().max()).item())
    return worst


def random_model(config):
    torch.manual_seed(3)
    base = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for name, parameter in base.named_parameters():
            # Norms and biases are made as ones and zeros; those hide mistakes.
            if "norm" in name or name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return base


def compare(config, modules, work):
    model_folder = work / "model"
    base = random_model(config)
    base.save_pretrained(model_folder)
    write_tokenizer(model_folder)
    plain = python_logits(base)
    yield "base", host_logits(model_folder), plain, None

    if "Moe" in type(base).__name__ or "Mixtral" in type(base).__name__:
        # All experts as one parameter, as transformers 5 holds them.
        whole = work / "whole"
        base.save_pretrained(whole, save_original_format=False)
        write_tokenizer(whole)
        yield "experts as one tensor", host_logits(whole), plain, None

    ours = work / "ours"
    if modules is ATTENTION:
        # On the dense layers of such a model peft can't be: it takes their names for those of the experts.
        shape = dict(rank=4, alpha=6.0, targets=modules)
        host("shaped", model_folder, ours, json.dumps(shape))
    else:
        host("adapter", model_folder, ours, 11)
    adapted = peft.PeftModel.from_pretrained(read(model_folder), ours).eval()
    yield "host -> peft", host_logits(model_folder, ours), python_logits(adapted), plain

    # Stacked modules have other tensors in the host than in peft.
    if modules in (SEPARATE, ATTENTION):
        worst = gradients(model_folder, ours)
        yield "gradients", torch.tensor(worst), torch.tensor(0.0), None

    # Lengths of rows, of all parts of a stacked module.
    dora = work / "dora"
    targets = ATTENTION if modules is ATTENTION else SEPARATE
    host("shaped", model_folder, dora, json.dumps(dict(rank=4, alpha=6.0, targets=targets, magnitudes=True)))
    adapted = peft.PeftModel.from_pretrained(read(model_folder), dora).eval()
    yield "dora: host -> peft", host_logits(model_folder, dora), python_logits(adapted), plain
    if modules in (SEPARATE, ATTENTION):
        yield "dora: gradients", torch.tensor(gradients(model_folder, dora)), torch.tensor(0.0), None

    theirs = work / "theirs"
    expected = peft_adapter(read(model_folder), modules, theirs)
    yield "peft -> host", host_logits(model_folder, theirs), expected, plain

    merged = work / "merged"
    host("merge", model_folder, theirs, merged)
    yield "merged", host_logits(merged), expected, plain
    yield "merged -> transformers", python_logits(read(merged)), expected, plain


def print_table(table):
    ways = list(dict.fromkeys(way for row in table.values() for way in row))
    for cells in [["model", *ways], ["---"] * (len(ways) + 1)]:
        print(f"| {' | '.join(cells)} |")
    for name, row in table.items():
        print(f"| {name} | {' | '.join(row.get(way, '-') for way in ways)} |")


def main():
    print(f"transformers {transformers.__version__}, peft {peft.__version__}, torch {torch.__version__}")
    failures, table = 0, {}
    for name, config, modules in configurations():
        with tempfile.TemporaryDirectory() as work:
            for what, ours, expected, plain in compare(config, modules, pathlib.Path(work)):
                difference = (ours - expected).abs().max().item()
                # An adapter without effect would pass every comparison.
                effect = None if plain is None else (expected - plain).abs().max().item()
                table.setdefault(name, {})[what] = f"{difference:.1e}"
                good = difference <= TOLERANCE and (effect is None or effect > 0.1)
                failures += not good
                verdict = "ok" if good else "FAILED"
                shown = "" if effect is None else f"  adapter changes {effect:.2f}"
                print(f"{verdict:6} {name:12} {what:24} largest difference {difference:.1e}{shown}")
    print_table(table)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
