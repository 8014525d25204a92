"""Trainings of the tests by name, in one process or in several::

    torchrun --nproc_per_node 2 training_processes.py FOLDER KEY ddp|fsdp|zero-1|zero-2 CASE[,CASE]

leaves, for each, the adapter in FOLDER/CASE.pt and its records in FOLDER/CASE/out.
"""

import os
import sys
from pathlib import Path

from training_setup import rows, torch, trainer

from risk_policy.training import PolicyChoice, RiskPolicyConfig, RiskPolicyTrainer, shards
from risk_policy.training.actuators import Update

PROMPTS = ["w1 w2 w3", "w4 w5", "w6 w7 w8 w9"]
ANCHORS = dict(anchors_harmful=PROMPTS, anchors_harmless=PROMPTS[::-1])
LABELLED = [(f"w{10 + i} w{20 + i} {'w7 w7' if i % 2 else 'w8 w8'}", bool(i % 2)) for i in range(40)]
MANY = dict(canary=PROMPTS, refusal="w1 w2", compliance="w3", **ANCHORS)
#: Rows of which the second process sees some with nothing to learn, and the first some twice.
ODD = rows()
for _at in (6, 7, 14):
    ODD[_at] = {**ODD[_at], "labels": [-100] * len(ODD[_at]["labels"])}
ODD[8:10] = ODD[:2]


class Told(RiskPolicyTrainer):
    """Its answers are replaced by what a test wants of each step."""

    SAID = [
        {"ema": {"decay": 0.5, "in_path": False}},
        {"action": "Skip"},
        {"anchor": {"target": "Reference", "strength": 0.5}, "layer_scale": [0.5, 0.0]},
        {"anchor": {"target": "LastSwitch", "strength": 0.5}, "gradient_clip": 0.3, "learning_rate_scale": 0.5},
        {"action": "RollBack"},
        {"ema": {"decay": 0.5, "in_path": True}},
    ]

    def _begin_training(self):
        super()._begin_training()
        steps = self._steps
        back = {"roll-back"} if any(one.get("action") == "RollBack" for one in self.SAID) else set()
        steps.update = Update(steps.parameters, {"ema", "anchor", "layer-scale"} | back)
        if steps.policies is not None:
            asked = steps.policies.ask
            steps.policies.ask = lambda measured, records: {**asked(measured, records), **self.SAID[measured["step"]]}


class Acting(Told):
    """The same without the way back, for which moments must be whole."""

    SAID = [{"action": "Skip"} if said.get("action") == "RollBack" else said for said in Told.SAID]


def policy(path, settings=None):
    return PolicyChoice(f"builtin:{path}", settings)


#: Policies, what the run has for them, and arguments of the trainer.
CASES = {
    "sft": ([policy("sft")], {}, {}),
    "fixed-kl": ([policy("fixed-kl", {"kl_weight": 0.3})], {}, {}),
    "probe": ([policy("probe")], dict(labelled=LABELLED), {}),
    "many": ([policy("target-kl"), policy("fixed-kl", {"kl_weight": 0.3}), policy("constrained-sft")], MANY, {}),
    "hidden": ([policy("anchored", {"anchors": {"divergence": "hidden-distance"}})], ANCHORS, {}),
    "safe-mix": ([policy("safe-mix", {"extra": 3})], dict(alignment=rows(5)), {}),
    "finch": ([policy("finch")], MANY, {}),
    "ema": ([policy("ema")], {}, {}),
    "sppft": ([policy("sppft", {"first": 1, "last": 1})], {}, {}),
    "odd": ([policy("fixed-kl", {"kl_weight": 0.3}), policy("constrained-sft")], {}, dict(data=ODD)),
    "told": ([policy("fixed-kl", {"kl_weight": 0.3})], {}, dict(cls=Told)),
    "acting": ([policy("fixed-kl", {"kl_weight": 0.3})], {}, dict(cls=Acting)),
}


def partitioned(stage):
    """A configuration of DeepSpeed."""
    auto = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping")
    config = {"zero_optimization": {"stage": stage}, "zero_allow_untested_optimizer": True, **dict.fromkeys(auto, "auto")}
    return dict(deepspeed=config)


#: Arguments of the trainer by how its processes share a training.
MODES = {
    "ddp": {}, "fsdp": dict(fsdp=True, fsdp_config={"version": 2}), "zero-1": partitioned(1), "zero-2": partitioned(2),
}


def made(name, folder, key, mode="ddp", accumulate=1, **more):
    """The trainer of a case, whose step has 4 rows whatever the number of processes."""
    policies, has, fields = CASES[name]
    share = 4 // int(os.environ.get("WORLD_SIZE", 1)) // accumulate
    fields = {**fields, **more, **MODES[mode]}
    return trainer(folder, RiskPolicyConfig(policies, key=key, **has), batch=share, accumulate=accumulate, **fields)


def whole(trained):
    """The adapter, put together."""
    shards.lay_down(trained.model)
    return {name: shards.whole(one.detach()).clone() for name, one in trained.model.named_parameters() if one.requires_grad}


def run(name, folder, key, mode="ddp"):
    """Trains a case; ``NAME-2`` with two micro-batches for each process, ``NAME-resumed`` with a break in the middle."""
    kind, _, how = name.partition("-2") if name.endswith("-2") else name.partition("-resumed")
    accumulate = 2 if name.endswith("-2") else 1
    saving = dict(save_strategy="steps", save_steps=3) if name.endswith("-resumed") else {}
    one = made(kind, folder / name, key, mode, accumulate, **saving)
    one.train()
    if saving:
        # As if it had ended there.
        one = made(kind, folder / name, key, mode, accumulate, **saving)
        one.train(resume_from_checkpoint=str(folder / name / "out/checkpoint-3"))
        one.save_model(str(folder / name / "adapter"))
    weights = whole(one)
    if one.accelerator.is_main_process:
        torch.save(weights, folder / f"{name}.pt")
    return one


if __name__ == "__main__":
    where, signing, mode, names = sys.argv[1:]
    for case in names.split(","):
        run(case, Path(where), signing, mode)
