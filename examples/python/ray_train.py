"""Fine-tunes a chat model with Ray Train under the policy `fixed-kl`, on two workers, and says how to audit the training.

    python examples/python/ray_train.py MODEL ROWS.jsonl [FOLDER] [--workers 2] [--steps 20]

MODEL is a folder or a Hub id with a chat template, ROWS have `prompt` and `completion`. Ray starts the workers and joins
them into one process group, in which the trainer is one of several processes: signals come together on the first, and all
get its answer. FOLDER (`out`) must be one that all workers see.
"""

import argparse
import json
from pathlib import Path

import ray
import torch
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer


def worker(config):
    """Runs on every worker, so what it needs is imported here."""
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig

    from risk_policy.training import PolicyChoice, RiskPolicyConfig, RiskPolicyTrainer

    said = lambda role, text: [{"role": role, "content": text}]  # noqa: E731
    with open(config["rows"], encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    data = [{"prompt": said("user", row["prompt"]), "completion": said("assistant", row["completion"])} for row in rows]
    trainer = RiskPolicyTrainer(
        model=config["model"],
        args=SFTConfig(
            output_dir=config["folder"], max_steps=config["steps"], per_device_train_batch_size=2, learning_rate=2e-4,
            use_cpu=not config["gpu"], bf16=config["gpu"], report_to=[], save_strategy="no", ddp_find_unused_parameters=False,
        ),
        train_dataset=Dataset.from_list(data),
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
        risk_policy=RiskPolicyConfig([PolicyChoice("builtin:fixed-kl", {"kl_weight": 0.3})], output=config["records"]),
    )
    trainer.train()
    trainer.save_model(str(Path(config["folder"]) / "adapter"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("rows", type=Path)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("out"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    gpu = torch.cuda.is_available()
    folder = options.folder.resolve()
    model = str(Path(options.model).resolve()) if Path(options.model).exists() else options.model
    ray.init(num_cpus=options.workers + 1, include_dashboard=False)
    TorchTrainer(
        worker,
        train_loop_config={
            "model": model, "rows": str(options.rows.resolve()), "folder": str(folder), "records": str(folder / "risk_policy"),
            "steps": options.steps, "gpu": gpu,
        },
        torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
        scaling_config=ScalingConfig(num_workers=options.workers, use_gpu=gpu),
        run_config=RunConfig(name="ray", storage_path=str(folder)),
    ).fit()
    lines = (folder / "risk_policy/metrics.jsonl").read_text().splitlines()
    print(f"{len(lines)} steps on {options.workers} workers, last loss {json.loads(lines[-1])['loss']:.3f}")
    print(f"host audit --run {folder / 'risk_policy'}")


if __name__ == "__main__":
    main()
