"""Fine-tunes a chat model with DeepSpeed's ZeRO under the policy `fixed-kl`, and says how to audit the training.

    torchrun --nproc_per_node 2 examples/python/deepspeed_sft.py MODEL ROWS.jsonl [FOLDER] [--steps 20] [--stage 2]

MODEL is a folder or a Hub id with a chat template, ROWS have `prompt` and `completion`. Moments of the optimizer are in
partitions (stage 1), gradients on their way to them as well (2). On a CPU set `DS_ACCELERATOR=cpu`; DeepSpeed then builds a
part of itself by g++ and ninja. FOLDER is `out`, and holds records and adapter.
"""

import argparse
import json
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import set_seed
from trl import SFTConfig

from risk_policy.training import PolicyChoice, RiskPolicyConfig, RiskPolicyTrainer

#: As the trainer's own arguments have it.
AUTO = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("rows", type=Path)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("out"))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--stage", type=int, default=2, choices=(1, 2))
    options = parser.parse_args()
    # Every process begins with the same adapter.
    set_seed(1)
    said = lambda role, text: [{"role": role, "content": text}]  # noqa: E731
    rows = [json.loads(line) for line in options.rows.read_text(encoding="utf-8").splitlines()]
    data = [{"prompt": said("user", row["prompt"]), "completion": said("assistant", row["completion"])} for row in rows]
    gpu = torch.cuda.is_available()
    config = {
        "zero_optimization": {"stage": options.stage}, "bf16": {"enabled": "auto"}, "zero_allow_untested_optimizer": True,
        **dict.fromkeys(AUTO, "auto"),
    }
    trainer = RiskPolicyTrainer(
        model=options.model,
        args=SFTConfig(
            output_dir=str(options.folder), max_steps=options.steps, per_device_train_batch_size=2, learning_rate=2e-4, use_cpu=not gpu,
            bf16=gpu, report_to=[], save_strategy="no", deepspeed=config,
        ),
        train_dataset=Dataset.from_list(data),
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
        risk_policy=RiskPolicyConfig([PolicyChoice("builtin:fixed-kl", {"kl_weight": 0.3})], output=options.folder / "risk_policy"),
    )
    trainer.train()
    trainer.save_model(str(options.folder / "adapter"))
    if trainer.risk_policy_folder is not None:
        lines = (trainer.risk_policy_folder / "metrics.jsonl").read_text().splitlines()
        print(f"{len(lines)} steps on {trainer.args.world_size} processes, last loss {json.loads(lines[-1])['loss']:.3f}")
        print(f"host audit --run {trainer.risk_policy_folder}")


if __name__ == "__main__":
    main()
