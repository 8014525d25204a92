"""Compares what the host makes of a model folder with what transformers makes of it, where its files say two things.

Tiny random models whose config.json or weights contradict themselves, and all kinds of rope scaling. Losses, with the fused
and with the plain kernels, must be those of transformers within 1e-5; and logits while half of every prompt is decoded
token by token, as transformers computes them with its cache. A contradiction must be told in one line that names the field.

    cargo build --release -p host-model --example peft_parity
    python3 tests/peft/folders.py [path of peft_parity]

Without torch, transformers and peft it says so and ends with code 77.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import parity
from adapters import PROMPTS, TOLERANCE, Report, gap, model_at
from parity import LLAMA3_ROPE, SIZES, torch, transformers
from safetensors.torch import load_file, save_file


def host(*arguments):
    """Output and what was told, or the message of a refusal."""
    done = subprocess.run([parity.HOST, *map(str, arguments)], capture_output=True, text=True)
    told = done.stderr.strip().splitlines()
    return (json.loads(done.stdout), told) if done.returncode == 0 else (None, told)


@torch.no_grad()
def loss(model, prompt):
    ids = torch.tensor([prompt])
    return model(ids, labels=ids).loss.item()


@torch.no_grad()
def stepped(model, prompt):
    """Logits of the last row after decoding the second half over the cache."""
    half = (len(prompt) + 1) // 2
    out = model(torch.tensor([prompt[:half]]), use_cache=True)
    for token in prompt[half:]:
        out = model(torch.tensor([[token]]), past_key_values=out.past_key_values, use_cache=True)
    return out.logits[0, -1]


def compare(report, name, folder, word=None):
    ours, told = host("loss", folder, "-", json.dumps(PROMPTS))
    if ours is None:
        return report.line(name, "loss", False, told[-1])
    # A fresh model each time: dynamic scaling remembers the longest sequence it has seen.
    difference = gap(ours, [loss(model_at(folder), prompt) for prompt in PROMPTS])
    named = word is None or any(word in line for line in told)
    report.line(name, "loss", difference <= TOLERANCE and named, f"difference {difference:.1e} {'' if named else told}")
    ours, _ = host("steps", folder, json.dumps(PROMPTS))
    expected = torch.stack([stepped(model_at(folder), prompt) for prompt in PROMPTS])
    difference = max((torch.tensor(kernels) - expected).abs().max().item() for kernels in ours)
    report.line(name, "logits while decoding", difference <= parity.TOLERANCE, f"difference {difference:.1e}")


def ropes():
    theta = {"rope_theta": 10000.0}
    yarn = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=64, **theta)
    yield "linear", dict(rope_type="linear", factor=4.0, **theta), {}
    yield "llama3", LLAMA3_ROPE, {}
    yield "yarn", yarn, {}
    yield "yarn, outer original", yarn, {"original_max_position_embeddings": 16}
    yield "yarn, mscale", {**yarn, "factor": 8.0, "mscale": 0.7, "mscale_all_dim": 0.4}, {}
    more = dict(attention_factor=1.4, beta_fast=16.0, beta_slow=2.0, truncate=False)
    yield "yarn, attention", {**yarn, "factor": 2.0, **more}, {}
    dynamic = dict(rope_type="dynamic", factor=2.0, **theta)
    yield "dynamic", dynamic, {"max_position_embeddings": 48}
    yield "dynamic, within", dynamic, {"max_position_embeddings": 256}
    yield "longrope", parity.longrope(64), {}
    yield "longrope, factor", {**parity.longrope(64), "factor": 2.0}, {}


def rope(report):
    for family, extra in [(transformers.LlamaConfig, {}), (transformers.Qwen2Config, {"tie_word_embeddings": True})]:
        for name, settings, fields in ropes():
            with tempfile.TemporaryDirectory() as work:
                folder = pathlib.Path(work)
                torch.manual_seed(3)
                config = family(**{**SIZES, **extra, **fields}, rope_parameters=dict(settings))
                transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
                parity.write_tokenizer(folder)
                compare(report, f"{config.model_type} {name}", folder)


def contradictions():
    """Name, configuration class, changes of config.json, and the word that a line must hold."""
    t = transformers
    window = dict(use_sliding_window=True, sliding_window=4, max_window_layers=1)
    yield "layer types", t.Qwen2Config, dict(window, layer_types=["sliding_attention", "full_attention", "full_attention"]), "layer_types"
    yield "all layers full", t.Qwen3Config, dict(window, layer_types=["full_attention"] * 3, head_dim=16), "layer_types"
    yield "window by number", t.Qwen2Config, dict(window, layer_types=None), None
    yield "types of a mistral", t.MistralConfig, dict(sliding_window=4, layer_types=["full_attention"] * 3), "layer_types"
    yield "two rope settings", t.LlamaConfig, dict(rope_scaling={"rope_type": "linear", "factor": 2.0}, rope_parameters={"rope_type": "linear", "factor": 8.0, "rope_theta": 500.0}), "rope_scaling"
    yield "two thetas", t.LlamaConfig, dict(rope_theta=77.0, rope_parameters={"rope_type": "default", "rope_theta": 500.0}), "rope_theta"
    yield "outer theta", t.LlamaConfig, dict(rope_theta=77.0, rope_parameters=None), None
    yield "factor without type", t.LlamaConfig, dict(rope_scaling={"factor": 4.0}), "rope_scaling.factor"
    yield "old type", t.LlamaConfig, dict(rope_scaling={"type": "linear", "factor": 4.0}), None
    yield "two types", t.LlamaConfig, dict(rope_scaling={"type": "default", "rope_type": "linear", "factor": 4.0}), "rope_type"
    yield "part of a head", t.LlamaConfig, dict(partial_rotary_factor=0.5), "partial_rotary_factor"
    yield "part of a phi", t.Phi3Config, dict(partial_rotary_factor=0.5, rope_parameters=None), None
    yield "two originals", t.LlamaConfig, dict(original_max_position_embeddings=16, rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}), "original_max_position_embeddings"
    yield "biases of a mistral", t.MistralConfig, dict(attention_bias=True), "attention_bias"
    yield "another class", t.LlamaConfig, dict(architectures=["MistralForCausalLM"]), "architectures"
    yield "norm of a phi", t.Phi3Config, dict(rms_norm_eps=None), None


def configurations(report):
    for name, family, changes, word in contradictions():
        with tempfile.TemporaryDirectory() as work:
            folder = pathlib.Path(work)
            torch.manual_seed(3)
            sizes = {**SIZES, "head_dim": 16} if family is transformers.Qwen3Config else SIZES
            transformers.AutoModelForCausalLM.from_config(family(**sizes)).save_pretrained(folder)
            parity.write_tokenizer(folder)
            path = folder / "config.json"
            config = {**json.loads(path.read_text()), **changes}
            # None takes a field away.
            path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
            compare(report, name, folder, word)


def weights(report):
    """Heads beside a tied embedding: another one, the same, and one in its place."""
    for name, change, word in [
        ("another head", lambda t: t.update({"lm_head.weight": torch.randn_like(t["model.embed_tokens.weight"]) * 0.2}), "tie_word_embeddings"),
        ("the same head", lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"].clone()}), None),
        ("only the head", lambda t: t.update({"lm_head.weight": t.pop("model.embed_tokens.weight")}), "lm_head.weight"),
        ("constants", lambda t: t.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)}), "inv_freq"),
    ]:
        with tempfile.TemporaryDirectory() as work:
            folder = pathlib.Path(work)
            torch.manual_seed(3)
            config = transformers.LlamaConfig(**SIZES, tie_word_embeddings=True)
            transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
            parity.write_tokenizer(folder)
            tensors = load_file(folder / "model.safetensors")
            change(tensors)
            save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
            compare(report, name, folder, word)


def main():
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    report = Report()
    for part in (configurations, weights, rope):
        part(report)
    print(f"{report.counts['ok']} ok, {report.counts['FAILED']} failed")
    sys.exit(1 if report.counts["FAILED"] else 0)


if __name__ == "__main__":
    main()
