"""What a policy costs a step of TRL's SFTTrainer, beside SFTTrainer without one.

    python3 tests/python/overhead.py MODEL [--rounds 2]

MODEL is a folder of a causal language model. Each training is a process of its own with one thread: 4 random rows of 128
tokens a step, the last 64 of them the answer, rank 16 on all linear layers, f32, 4 steps an epoch. The trainings take turns,
the figures are means over the rounds: processor seconds of a step in the first epoch (without step 0) and in the second, and
the most memory. Where others use the machine it says so and ends with code 1; without torch, peft, trl or risk_policy, 77.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

#: Policy and settings of each training; none is SFTTrainer itself.
TRAININGS = {
    "SFTTrainer": None,
    "sft": ("sft", {}),
    "fixed-kl": ("fixed-kl", {"kl_weight": 0.3}),
    "probe": ("probe", {}),
    "anchored": ("anchored", {}),
}
ROWS, TOKENS, BATCH, EPOCHS = 16, 128, 4, 2


def train(name, model, folder):
    """One training; its figures as JSON."""
    import torch
    import transformers
    import trl
    from datasets import Dataset
    from peft import LoraConfig

    from risk_policy.training import PolicyChoice, RiskPolicyConfig, RiskPolicyTrainer

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    ended = [time.process_time()]

    class Clock(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            ended.append(time.process_time())

    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    generator = torch.Generator().manual_seed(1)
    draw = lambda count: torch.randint(100, len(tokenizer) - 100, (count,), generator=generator).tolist()  # noqa: E731
    rows = [(draw(TOKENS // 2), draw(TOKENS // 2)) for _ in range(ROWS)]
    data = Dataset.from_list([{"input_ids": a + b, "labels": [-100] * len(a) + b} for a, b in rows])
    arguments = trl.SFTConfig(
        output_dir=folder, per_device_train_batch_size=BATCH, num_train_epochs=EPOCHS, learning_rate=1e-4, report_to=[], use_cpu=True,
        bf16=False, save_strategy="no", disable_tqdm=True, dataset_kwargs={"skip_prepare_dataset": True}, gradient_checkpointing=False,
    )
    more, kind = {}, trl.SFTTrainer
    if TRAININGS[name] is not None:
        policy, settings = TRAININGS[name]
        prompts = [draw(12) for _ in range(24)]
        labelled = [(prompt, bool(i % 2)) for i, prompt in enumerate(prompts)]
        has = {"anchors_harmful": prompts[:4], "anchors_harmless": prompts[4:8]} if policy == "anchored" else {}
        has |= {"labelled": labelled} if policy == "probe" else {}
        more = {"risk_policy": RiskPolicyConfig([PolicyChoice(f"builtin:{policy}", settings)], **has)}
        kind = RiskPolicyTrainer
    trainer = kind(
        model=transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32), args=arguments, train_dataset=data,
        processing_class=tokenizer, callbacks=[Clock()],
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"), **more,
    )
    trainer.train()
    steps = [after - before for before, after in zip(ended, ended[1:])]
    epoch = len(steps) // EPOCHS
    mean = lambda part: sum(part) / len(part)  # noqa: E731
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"first": mean(steps[1:epoch]), "later": mean(steps[epoch:]), "peak": peak}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--one", choices=TRAININGS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    needed = ("torch", "transformers", "peft", "trl", "datasets", "risk_policy")
    missing = next((one for one in needed if importlib.util.find_spec(one) is None), None)
    if missing is not None:
        print(f"SKIPPED: {missing} isn't installed; pip install torch transformers peft trl datasets, and build host/python")
        sys.exit(77)
    if options.one:
        with tempfile.TemporaryDirectory() as folder:
            train(options.one, options.model, folder)
        return
    figures = {name: [] for name in TRAININGS}
    for _ in range(options.rounds):
        for name, found in figures.items():
            if (load := os.getloadavg()[0]) > 1.5:
                sys.exit(f"the load of this machine is {load:.1f}, so the figures would be those of others; try again when it is quiet")
            command = [sys.executable, __file__, options.model, "--one", name]
            done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(f"FAILED: {name}: {done.stderr.strip()[-2000:]}")
            found.append(json.loads(done.stdout.splitlines()[-1]))
    mean = lambda name, what: sum(one[what] for one in figures[name]) / options.rounds  # noqa: E731
    plain = "SFTTrainer"
    print("| | first epoch | later epochs | of SFTTrainer's | peak MiB |\n|---|---|---|---|---|")
    for name in figures:
        first, later = mean(name, "first"), mean(name, "later")
        shares = f"{first / mean(plain, 'first'):.2f}, {later / mean(plain, 'later'):.2f}"
        print(f"| `{name}` | {first:.2f} | {later:.2f} | {shares} | {mean(name, 'peak'):.0f} |")


if __name__ == "__main__":
    main()
