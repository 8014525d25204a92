"""Compares losses of a tiny random model under the kinds of adapter that peft writes.

Most adapters are saved by peft and read by the host; those of `shapes` the other way round, with gradients too. What the host loads must have peft's loss, with the fused and with
the plain kernels, within 1e-5; what it refuses must name the setting, and the way out that its message names must work:
the model merged in Python, or the adapter that peft converted, has peft's loss too.

    cargo build --release -p host-model --example peft_parity
    python3 tests/peft/adapters.py [path of peft_parity]

Without torch, transformers and peft it says so and ends with code 77.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import warnings

import parity
from parity import FUSED, SEPARATE, SIZES, peft, torch, transformers

import safetensors.torch  # after parity, which skips where there is no torch

TOLERANCE = 1e-5
PROMPTS = [[1, 2, 3, 4, 5, 6, 7, 250, 251], [299, 17, 17, 4], list(range(100, 190))]
# What the model says without an adapter must be another loss than under it.
EFFECT = 1e-3
warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def host(*arguments):
    """Output, or the message of a refusal."""
    done = subprocess.run([parity.HOST, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads(done.stdout), None
    return None, done.stderr.strip().splitlines()[-1]


@torch.no_grad()
def losses(model):
    ids = [torch.tensor([prompt]) for prompt in PROMPTS]
    return [model(prompt, labels=prompt).loss.item() for prompt in ids]


def gap(ours, theirs):
    return max(abs(a - b) for row in ours for a, b in zip(row, theirs))


def shake(model, seed=5):
    """What training would do to the trained parameters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return model.eval()


def lora(**fields):
    fields = {"r": 4, "lora_alpha": 6, "target_modules": SEPARATE, "task_type": "CAUSAL_LM", **fields}
    return peft.LoraConfig(**fields)


def loaded():
    """Name and configuration of adapters that must be loaded exactly."""
    yield "plain", lora()
    yield "gaussian", lora(init_lora_weights="gaussian")
    yield "orthogonal", lora(init_lora_weights="orthogonal")
    yield "not initialised", lora(init_lora_weights=False)
    yield "rslora", lora(use_rslora=True)
    yield "rank pattern", lora(rank_pattern={"q_proj": 8, r"layers\.1\..*up_proj": 2})
    yield "alpha pattern", lora(alpha_pattern={"v_proj": 12, "^model.layers.0.mlp.down_proj": 1})
    yield "both, rslora", lora(rank_pattern={"k_proj": 1}, alpha_pattern={"k_proj": 3}, use_rslora=True)
    yield "some layers", lora(layers_to_transform=[0, 2])
    yield "one layer", lora(layers_to_transform=1, layers_pattern="layers")
    yield "an expression", lora(target_modules=r".*\.(0|2)\.self_attn\.(q|v)_proj")
    yield "whole names", lora(target_modules=["model.layers.1.mlp.up_proj", "q_proj"])
    yield "excluded", lora(exclude_modules=["layers.0.self_attn.q_proj", "down_proj"])
    yield "all linear", lora(target_modules="all-linear")
    yield "fan_in_fan_out", lora(fan_in_fan_out=True)
    yield "bias without any", lora(bias="all")
    yield "dropout", lora(lora_dropout=0.1)
    yield "dora", lora(use_dora=True)
    yield "dora, some layers", lora(use_dora=True, use_rslora=True, layers_to_transform=[1], rank_pattern={"q_proj": 8})


def refused():
    """Name, configuration, what the message names, and the way out: merge, convert or none."""
    yield "pissa", lora(init_lora_weights="pissa"), "init_lora_weights", ("merge", "convert")
    yield "olora", lora(init_lora_weights="olora"), "init_lora_weights", ("merge", "convert")
    yield "pissa, rslora", lora(init_lora_weights="pissa", use_rslora=True), "init_lora_weights", ("merge", "convert")
    yield "pissa_niter", lora(init_lora_weights="pissa_niter_4"), "init_lora_weights", ("convert",)
    yield "head saved", lora(modules_to_save=["lm_head"]), "modules_to_save", ("merge",)
    yield "head adapted", lora(target_modules=[*SEPARATE, "lm_head"]), "lm_head", ("merge",)
    yield "embedding adapted", lora(target_modules=[*SEPARATE, "embed_tokens"]), "embed", ("merge",)
    yield "tokens", lora(trainable_token_indices=[3, 4]), "trainable_token_indices", ("merge",)
    yield "bias of the adapter", lora(lora_bias=True), "lora_bias", ()


def other_kinds():
    """Kinds of adapter that aren't LoRA; all can be merged."""
    yield "loha", peft.LoHaConfig(r=4, alpha=6, target_modules=SEPARATE, task_type="CAUSAL_LM"), "LOHA"
    yield "ia3", peft.IA3Config(target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"], task_type="CAUSAL_LM"), "IA3"


def model_at(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def base(folder, **fields):
    config = transformers.LlamaConfig(**{**SIZES, **fields})
    torch.manual_seed(3)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    model.save_pretrained(folder)
    parity.write_tokenizer(folder)
    return losses(model)


class Report:
    def __init__(self):
        self.counts = {"ok": 0, "FAILED": 0}

    def line(self, name, what, good, detail):
        verdict = "ok" if good else "FAILED"
        self.counts[verdict] += 1
        print(f"{verdict:6} {name:22} {what:26} {detail}", flush=True)


def compare(report, name, what, folder, adapter, expected, plain):
    ours, refusal = host("loss", folder, adapter, json.dumps(PROMPTS))
    if refusal:
        return report.line(name, what, False, refusal)
    difference = gap(ours, expected)
    effect = max(abs(a - b) for a, b in zip(expected, plain))
    good = difference <= TOLERANCE and effect > EFFECT
    report.line(name, what, good, f"difference {difference:.1e}, the adapter changes {effect:.3f}")


def ways_out(report, name, ways, work, folder, adapter, initial, trained, expected, plain):
    if "merge" in ways:
        # As the message says: loaded onto the base again, not from the training that still has it in memory.
        merged = work / "merged"
        peft.PeftModel.from_pretrained(model_at(folder), adapter).merge_and_unload().save_pretrained(merged)
        parity.write_tokenizer(merged)
        compare(report, name, "way out: merged", merged, "-", expected, plain)
    if "convert" in ways:
        converted = work / "converted"
        trained.save_pretrained(converted, path_initial_model_for_weight_conversion=str(initial))
        compare(report, name, "way out: converted", folder, converted, expected, plain)


def adapters(report):
    for name, config in loaded():
        with tempfile.TemporaryDirectory() as work:
            work = pathlib.Path(work)
            plain = base(work / "model")
            adapted = shake(peft.get_peft_model(model_at(work / "model"), config))
            adapted.save_pretrained(work / "adapter")
            compare(report, name, "loaded", work / "model", work / "adapter", losses(adapted), plain)
    cases = [*refused(), *((name, config, word, ("merge",)) for name, config, word in other_kinds())]
    for name, config, word, ways in cases:
        with tempfile.TemporaryDirectory() as work:
            work = pathlib.Path(work)
            plain = base(work / "model")
            adapted = peft.get_peft_model(model_at(work / "model"), config)
            adapted.save_pretrained(work / "initial")
            fresh, refusal = host("loss", work / "model", work / "initial", json.dumps(PROMPTS))
            named = refusal is not None and word in refusal and "; " in refusal
            report.line(name, "refused by name", named, (refusal or f"loaded: {fresh}")[-150:])
            adapted = shake(adapted)
            adapted.save_pretrained(work / "adapter")
            ways_out(report, name, ways, work, work / "model", work / "adapter", work / "initial", adapted, losses(adapted), plain)


def bias(report):
    """Trained biases of a model that has some."""
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        plain = base(work / "model", attention_bias=True)
        adapted = shake(peft.get_peft_model(model_at(work / "model"), lora(bias="lora_only")))
        adapted.save_pretrained(work / "adapter")
        _, refusal = host("loss", work / "model", work / "adapter", json.dumps(PROMPTS))
        report.line("bias", "refused by name", refusal is not None and "bias" in refusal, str(refusal)[-150:])
        ways_out(report, "bias", ("merge",), work, work / "model", work / "adapter", None, adapted, losses(adapted), plain)


def embeddings(report):
    """An embedding and a head saved beside an adapter on the linear layers: of the model's size, and larger."""
    for name, size in [("embedding beside", parity.VOCABULARY), ("larger embedding", parity.VOCABULARY + 3)]:
        with tempfile.TemporaryDirectory() as work:
            work = pathlib.Path(work)
            plain = base(work / "model")
            whole = model_at(work / "model")
            whole.resize_token_embeddings(size, mean_resizing=False)
            adapted = shake(peft.get_peft_model(whole, lora()))
            adapted.save_pretrained(work / "adapter", save_embedding_layers=True)
            _, refusal = host("loss", work / "model", work / "adapter", json.dumps(PROMPTS))
            word = "merge" if size == parity.VOCABULARY else f"resize_token_embeddings({size})"
            report.line(name, "refused by name", refusal is not None and word in refusal, str(refusal)[-150:])
            again = model_at(work / "model")
            again.resize_token_embeddings(size, mean_resizing=False)
            merged = work / "merged"
            peft.PeftModel.from_pretrained(again, work / "adapter").merge_and_unload().save_pretrained(merged)
            parity.write_tokenizer(merged)
            compare(report, name, "way out: merged", merged, "-", losses(adapted), plain)


def stacked(report):
    """Phi-3's modules that hold several projections, with ranks of their own and in some layers only."""
    for name, config in [
        ("phi3, rank pattern", lora(target_modules=FUSED, rank_pattern={"qkv_proj": 8}, use_rslora=True)),
        ("phi3, some layers", lora(target_modules=FUSED, layers_to_transform=[1])),
        ("phi3, dora", lora(target_modules=FUSED, use_dora=True)),
    ]:
        with tempfile.TemporaryDirectory() as work:
            work = pathlib.Path(work)
            torch.manual_seed(3)
            model = transformers.AutoModelForCausalLM.from_config(transformers.Phi3Config(**SIZES, original_max_position_embeddings=256)).eval()
            model.save_pretrained(work / "model")
            parity.write_tokenizer(work / "model")
            adapted = shake(peft.get_peft_model(model_at(work / "model"), config))
            adapted.save_pretrained(work / "adapter")
            compare(report, name, "loaded", work / "model", work / "adapter", losses(adapted), losses(model))


def written():
    """Shapes of adapters that the host writes and peft loads, and the gradients of both."""
    yield "plain", dict(targets=SEPARATE)
    yield "rslora", dict(targets=SEPARATE, rank_stabilized=True)
    yield "dora", dict(targets=SEPARATE, magnitudes=True)
    yield "pissa", dict(targets=SEPARATE, init="pissa")
    yield "pissa, dora, rslora", dict(targets=SEPARATE, init="pissa", magnitudes=True, rank_stabilized=True)
    yield "some layers", dict(targets=["q_proj", "down_proj"], layers=[0, 2])
    yield "all linear", dict(targets="all-linear", exclude=["layers.0.mlp.up_proj", "k_proj"])
    yield "an expression", dict(targets=r".*\.(0|2)\.self_attn\.(q|v)_proj")
    yield "ranks and alphas", dict(
        targets=SEPARATE,
        rank_stabilized=True,
        rank_pattern={"q_proj": 8, r"layers\.1\..*up_proj": 2},
        alpha_pattern={r"layers\.2\.mlp\..*": 12.0, "v_proj": 1.5},
    )


def shapes(report):
    for name, shape in written():
        with tempfile.TemporaryDirectory() as work:
            work = pathlib.Path(work)
            plain = base(work / "model")
            shape = json.dumps(dict(rank=4, alpha=6.0, **shape))
            subprocess.run([parity.HOST, "shaped", work / "model", work / "adapter", shape], check=True)
            adapted = peft.PeftModel.from_pretrained(model_at(work / "model"), work / "adapter", is_trainable=True).eval()
            compare(report, name, "written by the host", work / "model", work / "adapter", losses(adapted), plain)
            ids = [torch.tensor([prompt]) for prompt in PROMPTS]
            sum(adapted(prompt, labels=prompt).loss for prompt in ids).backward()
            theirs = {parity.stored(key): value.grad for key, value in adapted.named_parameters() if value.requires_grad}
            ours, refusal = host("gradients", work / "model", work / "adapter", json.dumps(PROMPTS))
            if refusal or any(found.keys() != theirs.keys() for found in ours):
                report.line(name, "gradients", False, refusal or "other tensors than peft's")
                continue
            worst = 0.0
            for found in ours:
                for key, grad in theirs.items():
                    difference = torch.tensor(found[key]).reshape(grad.shape) - grad
                    worst = max(worst, (difference.norm() / grad.norm()).item())
            report.line(name, "gradients", worst < 1e-4, f"worst relative difference {worst:.1e} of {len(theirs)} tensors")


def start(report):
    """PiSSA's start beside peft's, which has all singular values: the product is the nearest matrix of its rank."""
    for name, shape in [("pissa", {}), ("pissa, rslora", dict(rank_stabilized=True))]:
        with tempfile.TemporaryDirectory() as work:
            work = pathlib.Path(work)
            base(work / "model")
            shape = dict(rank=4, alpha=6.0, targets=SEPARATE, init="pissa", **shape)
            subprocess.run([parity.HOST, "fresh", work / "model", work / "adapter", json.dumps(shape)], check=True)
            ours = safetensors.torch.load_file(work / "adapter/adapter_model.safetensors")
            config = lora(init_lora_weights="pissa", use_rslora="rslora" in name)
            theirs = peft.get_peft_model(model_at(work / "model"), config).state_dict()
            least = 1.0
            for key in [key for key in ours if "lora_A" in key]:
                a, b = ours[key], ours[key.replace("lora_A", "lora_B")]
                assert torch.equal(a[:4], a[4:]) and torch.equal(b[:, :4], -b[:, 4:]), key
                of_peft = key.replace(".weight", ".default.weight")
                expected = theirs[of_peft.replace("lora_A", "lora_B")] @ theirs[of_peft]
                # Values of random matrices lie close together: which of two is taken says little, how large it is much.
                least = min(least, ((b[:, :4] @ a[:4]).norm() / expected.norm()).item() ** 2)
            report.line(name, "start", least > 0.99, f"at least {least:.4f} of the square of the nearest matrix")


def main():
    print(f"transformers {transformers.__version__}, peft {peft.__version__}, torch {torch.__version__}")
    report = Report()
    for part in (adapters, bias, embeddings, stacked, shapes, start):
        part(report)
    print(f"{report.counts['ok']} ok, {report.counts['FAILED']} failed")
    sys.exit(1 if report.counts["FAILED"] else 0)


if __name__ == "__main__":
    main()
