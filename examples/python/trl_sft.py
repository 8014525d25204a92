"""Fine-tunes a chat model with TRL under the policy `probe`, and says how to audit the training.

    python examples/python/trl_sft.py MODEL ROWS.jsonl LABELLED.jsonl

MODEL is a folder or a Hub id with a chat template. ROWS have `prompt` and `completion`, LABELLED `prompt` and `label`
(1 harmful, 0 harmless): the probe is fitted on those, on the model as it is, before the first step.
"""

import json
import sys

import torch
from datasets import Dataset
from peft import LoraConfig
from trl import SFTConfig

from risk_policy.training import PolicyChoice, RiskPolicyConfig, RiskPolicyTrainer


def read(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def main(model, rows, labelled):
    said = lambda role, text: [{"role": role, "content": text}]  # noqa: E731
    data = [{"prompt": said("user", row["prompt"]), "completion": said("assistant", row["completion"])} for row in read(rows)]
    trainer = RiskPolicyTrainer(
        model=model,
        args=SFTConfig(
            output_dir="out", per_device_train_batch_size=4, gradient_accumulation_steps=2, learning_rate=2e-4,
            use_cpu=not torch.cuda.is_available(),
        ),
        train_dataset=Dataset.from_list(data),
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
        risk_policy=RiskPolicyConfig(
            [PolicyChoice("builtin:probe", {"b_max": 0.9})],
            labelled=[(row["prompt"], row["label"] == 1) for row in read(labelled)],
        ),
    )
    trainer.train()
    trainer.save_model("out/adapter")
    print(f"host audit --run {trainer.risk_policy_folder}")


if __name__ == "__main__":
    main(*sys.argv[1:])
