"""Trains the same model with the host and with PyTorch under the same policy, and compares every step.

A tiny random model, the adapter that peft made for it, the same rows in the order in which the host took them, the same
schedule. Per policy: largest difference of any sample's risk (1e-6), of any sample's weights (1e-5; those of some policies follow the model in training), of any step's loss
(1e-4) over 20 steps, and of the adapters that come out. What the host measured is read from its journal, and the journals
of both are replayed by `host audit --run`. The last lines are a table in Markdown.

    python3 tests/python/parity.py HOST [--steps N] [--policies probe,anchored] [--accumulate N] [--model FOLDER]

Without torch, transformers, peft, trl or the package risk_policy it says so and ends with code 77. `--model` compares on
a model of yours instead, in f32, with 1e-4 for risks and weights.
"""

from __future__ import annotations

import argparse
import json
import math
import pathlib
import subprocess
import sys
import tempfile
import warnings

try:
    import peft
    import torch
    import transformers
    from datasets import Dataset
    from safetensors.torch import load_file
    from tokenizers import Tokenizer, models, pre_tokenizers
    from trl import SFTConfig

    import risk_policy
    from risk_policy.training import PolicyChoice, RiskPolicyConfig, RiskPolicyTrainer
except ImportError as missing:
    print(f"SKIPPED: {missing}; pip install torch transformers peft trl datasets, and build host/python")
    sys.exit(77)

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

RISK, WEIGHT, LOSS = 1e-6, 1e-5, 1e-4
BATCH, RATE, ANCHORS = 4, 1e-3, 1
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
#: Name of a comparison: policy and settings.
POLICIES = {
    "sft": ("sft", {}),
    "fixed-kl": ("fixed-kl", {"kl_weight": 0.3}),
    "probe": ("probe", {}),
    "probe-mean": ("probe", {"position": "prompt-mean"}),
    "anchored": ("anchored", {}),
    "anchored-hidden": ("anchored", {"anchors": {"divergence": "hidden-distance"}}),
    "anchored-rows": ("anchored", {"alignment_rows": 2}),
    "safe-mix": ("safe-mix", {"extra": 2}),
    "constrained-sft": ("constrained-sft", {}),
    "ema": ("ema", {}),
    "finch": ("finch", {}),
    "lagrangian": ("lagrangian", {}),
    "non-markov": ("non-markov", {}),
    "shield": ("shield", {}),
    "sppft": ("sppft", {}),
    "target-kl": ("target-kl", {}),
}
SPECIAL = ["<pad>", "<s>", "<end>", "<user>", "<model>"]
TEMPLATE = (
    "{% for m in messages %}{{ '<user> ' if m.role == 'user' else '<model> ' }}{{ m.content }} <end> {% endfor %}"
    "{% if add_generation_prompt %}<model> {% endif %}"
)


def words(count, generator):
    return " ".join(f"w{i}" for i in torch.randint(0, 295, (count,), generator=generator).tolist())


def random_model(folder):
    torch.manual_seed(3)
    config = transformers.LlamaConfig(
        vocab_size=300, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=256, pad_token_id=0, bos_token_id=1, eos_token_id=2, initializer_range=0.2,
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    names = [*SPECIAL, *(f"w{i}" for i in range(295))]
    tokenizer = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="<end>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def data(work, tokenizer):
    """Rows of which no two have the same numbers of prompt and answer tokens, by which a journal tells them."""
    generator = torch.Generator().manual_seed(1)
    known, i = {}, 0
    while len(known) < 24:
        row = {"prompt": words(4 + i % 6, generator), "completion": words(2 + i // 6 % 6, generator)}
        known.setdefault(lengths(encoded(row, tokenizer)), row)
        i += 1
    rows = list(known.values())
    kinds = [" w7 w7", " w8 w8"]
    labelled = [{"prompt": words(5, generator) + kinds[i % 2], "label": i % 2} for i in range(60)]
    write(work / "rows.jsonl", rows)
    write(work / "labelled.jsonl", labelled)
    # As many anchors as a step visits, so that every visit has all of them, in whatever order they were drawn.
    write(work / "alignment.jsonl", [{"prompt": words(12, generator), "completion": words(3 + i, generator)} for i in range(2)])
    for name, count in (("canary", 3), ("harmful", ANCHORS), ("harmless", ANCHORS)):
        write(work / f"{name}.jsonl", [{"prompt": words(6, generator)} for _ in range(count)])
    return rows


def prompts(work, name):
    return [json.loads(line)["prompt"] for line in (work / f"{name}.jsonl").read_text().splitlines()]


def lengths(row):
    """Prompt and answer tokens."""
    prompt = row["labels"].count(-100)
    return prompt, len(row["labels"]) - prompt


def encoded(row, tokenizer):
    """Tokens and labels as the host has them: the answer with the token that ends its turn."""
    ask = [{"role": "user", "content": row["prompt"]}]
    both = [*ask, {"role": "assistant", "content": row["completion"]}]
    prompt = tokenizer.apply_chat_template(ask, add_generation_prompt=True, tokenize=True, return_dict=False)
    whole = tokenizer.apply_chat_template(both, tokenize=False)
    end = whole.rstrip() if not whole.endswith(tokenizer.eos_token) else whole
    ids = tokenizer(end, add_special_tokens=False)["input_ids"]
    assert ids[: len(prompt)] == prompt, "the answer doesn't begin where the prompt ends"
    return {"input_ids": ids, "labels": [-100] * len(prompt) + ids[len(prompt) :]}


def run(host, *arguments):
    done = subprocess.run([host, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"FAILED: host {' '.join(map(str, arguments[:2]))}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def train_host(host, work, name, steps, needs):
    policy, settings = POLICIES[name]
    sets = [f'canary.prompts=["{work}/canary.jsonl"]', f'anchors.harmful=["{work}/harmful.jsonl"]', f'anchors.harmless=["{work}/harmless.jsonl"]']
    sets += ['canary.refusal="w1 w2"', 'canary.compliance="w3 w4"', f'lora.start="{work}/adapter"']
    more = [part for one in sets for part in ("--set", one)]
    more += ["--labelled", work / "labelled.jsonl"] if needs["calibration"] else []
    more += ["--alignment", work / "alignment.jsonl"] if "alignment-extra" in needs["actuators"] else []
    for key, value in settings.items():
        more += ["--set", f"policy.settings.{key}={toml(value)}"]
    out = work / f"host-{name}"
    run(
        host, "train", "--model", work / "model", "--data", work / "rows.jsonl", "--policy", f"builtin:{policy}", "--steps", steps,
        "--batch", BATCH, "--lr", RATE, "--no-baseline", "--quiet", "--output", out, *more,
    )
    return out


def toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + " }"
    return json.dumps(value)


def journal(folder):
    """Per step: samples, risks, weights."""
    found = []
    for line in (folder / "journal/records.jsonl").read_text().splitlines():
        entry = json.loads(line)["entry"]
        if entry["kind"] == "assessment":
            said = entry["answer"]["assessment"]["assessment"]
            found.append((entry["signals"]["signals"], said["risk"], said["regularization"]))
    return found


def schedule(steps):
    """The host's: linear warm-up over a twentieth of the steps, then a cosine down to a tenth."""
    warmup = round(0.05 * steps)

    def factor(step):
        if step < warmup:
            return (step + 1) / warmup
        progress = min((step - warmup) / max(steps - warmup, 1), 1.0)
        return 0.1 + 0.9 * 0.5 * (1.0 + math.cos(math.pi * progress))

    return factor


def train_torch(work, name, steps, order, rows, accumulate):
    policy, settings = POLICIES[name]
    tokenizer = transformers.AutoTokenizer.from_pretrained(work / "model")
    base = transformers.AutoModelForCausalLM.from_pretrained(work / "model", dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(base, work / "adapter", is_trainable=True)
    known = {lengths(row): row for row in (encoded(row, tokenizer) for row in rows)}
    data = [known[one["prompt_tokens"], one["answer_tokens"]] for samples in order for one in samples if one["origin"] == "Task"]
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=RATE, eps=1e-8, weight_decay=0.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule(steps))
    calibration = work / f"host-{name}/calibration.json"
    alignment = [json.loads(line) for line in (work / "alignment.jsonl").read_text().splitlines()]
    config = RiskPolicyConfig(
        [PolicyChoice(f"builtin:{policy}", settings, calibration if calibration.exists() else None)], output=work / f"torch-{name}",
        alignment=[encoded(row, tokenizer) for row in alignment],
        canary=prompts(work, "canary"), refusal="w1 w2", compliance="w3 w4",
        anchors_harmful=prompts(work, "harmful"), anchors_harmless=prompts(work, "harmless"),
    )
    arguments = SFTConfig(
        output_dir=str(work / "out"), per_device_train_batch_size=BATCH // accumulate, gradient_accumulation_steps=accumulate,
        max_steps=steps, max_grad_norm=1.0, report_to=[], use_cpu=True, bf16=False, save_strategy="no", logging_strategy="no",
        disable_tqdm=True, seed=17, train_sampling_strategy="sequential", dataset_kwargs={"skip_prepare_dataset": True}, gradient_checkpointing=False,
    )
    trainer = RiskPolicyTrainer(
        model=model, args=arguments, train_dataset=Dataset.from_list(data), processing_class=tokenizer,
        optimizers=(optimizer, scheduler), risk_policy=config,
    )
    trainer.train()
    model.save_pretrained(work / f"torch-{name}/adapter")
    return work / f"torch-{name}"


def losses(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def needs_of(work, name, steps):
    policy, settings = POLICIES[name]
    config = transformers.AutoConfig.from_pretrained(work / "model")
    sizes = dict(layers=config.num_hidden_layers, hidden=config.hidden_size, vocabulary=config.vocab_size)
    info = risk_policy.RunInfo(**sizes, samples_per_step=BATCH, total_steps=steps, seed=17)
    return risk_policy.Policy.load(f"builtin:{policy}").configure(settings, info).needs


def gap(ours, theirs):
    return max((abs(a - b) for a, b in zip(ours, theirs, strict=True)), default=0.0)


def compare(host, work, policy, steps, rows, accumulate):
    """The largest differences of a policy: risk, weights, loss, gradient norm, adapter."""
    ours = train_host(host, work, policy, steps, needs_of(work, policy, steps))
    said = journal(ours)
    theirs = train_torch(work, policy, steps, [signals["samples"] for signals, _, _ in said], rows, accumulate)
    heard = journal(theirs)
    risk = max(gap(a[1], b[1]) for a, b in zip(said, heard, strict=True))
    weight = 0.0
    for (_, _, a), (_, _, b) in zip(said, heard, strict=True):
        for name in ("task_weight", "kl_weight", "token_task_weight", "token_kl_weight"):
            weight = max(weight, gap(a.get(name) or [], b.get(name) or []))
        for name in ("learning_rate_scale", "anchor_weight", "gradient_clip"):
            weight = max(weight, abs((a.get(name) or 0.0) - (b.get(name) or 0.0)))
    lines = list(zip(losses(ours), losses(theirs), strict=True))
    loss = max(abs(a["loss"] - b["loss"]) for a, b in lines)
    norm = max(abs(a["gradient_norm"] - b["gradient_norm"]) for a, b in lines)
    a, b = (load_file(folder / "adapter/adapter_model.safetensors") for folder in (ours, theirs))
    assert a.keys() == b.keys(), a.keys() ^ b.keys()
    adapter = max((a[name] - b[name]).abs().max().item() for name in a)
    return dict(risk=risk, weights=weight, loss=loss, norm=norm, adapter=adapter), audited(host, ours) and audited(host, theirs), lines[-1][0]["loss"]


def audited(host, folder):
    """Whether a run's audit passes, and every assessment gave the same bytes."""
    done = subprocess.run([host, "audit", "--run", str(folder), "--json"], capture_output=True, text=True)
    found = json.loads(done.stdout)
    replay = found["replay"]
    again = replay["replayed"] == replay["assessments"] > 0 and not replay["findings"] and replay["first_difference"] is None
    verdict = found["verdict"] == "passed" and done.returncode == 0
    if not (verdict and again and not found["findings"]):
        print(f"host audit --run {folder.name}: {found['verdict']}, code {done.returncode}, {replay}: {done.stderr.strip()}", file=sys.stderr)
        return False
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("host", help="the program")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--policies", default=",".join(POLICIES), help="comparisons, by name")
    parser.add_argument("--accumulate", type=int, default=1, help="micro-batches of a step in PyTorch")
    parser.add_argument("--model", type=pathlib.Path, help="folder of a model with a chat template, in place of the random one")
    options = parser.parse_args()
    torch.set_num_threads(1)
    host = str(pathlib.Path(options.host).resolve())
    print(f"transformers {transformers.__version__}, peft {peft.__version__}, torch {torch.__version__}")
    failures, table = 0, []
    for policy in options.policies.split(","):
        with tempfile.TemporaryDirectory() as folder:
            work = pathlib.Path(folder).resolve()
            if options.model:
                (work / "model").symlink_to(options.model.resolve())
            else:
                random_model(work / "model")
            rows = data(work, transformers.AutoTokenizer.from_pretrained(work / "model"))
            torch.manual_seed(5)
            base = transformers.AutoModelForCausalLM.from_pretrained(work / "model")
            lora = peft.LoraConfig(r=4, lora_alpha=6, target_modules=TARGETS, task_type="CAUSAL_LM")
            peft.get_peft_model(base, lora).save_pretrained(work / "adapter")
            found, passed, last = compare(host, work, policy, options.steps, rows, options.accumulate)
        # Activations of a trained model reach hundreds, and both sides round to f32.
        good = found["risk"] <= (1e-4 if options.model else RISK) and found["weights"] <= (1e-4 if options.model else WEIGHT) and found["loss"] <= LOSS and passed
        failures += not good
        shown = ", ".join(f"{name} {value:.1e}" for name, value in found.items())
        print(f"{'ok' if good else 'FAILED':6} {policy:16} {shown}; last loss {last:.3f}; journals {'replayed' if passed else 'NOT REPLAYED'}", flush=True)
        table.append([policy, *(f"{value:.1e}" for value in found.values())])
    for cells in [["policy", "risk", "weights", "loss", "gradient norm", "adapter"], ["---"] * 6, *table]:
        print(f"| {' | '.join(cells)} |")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
