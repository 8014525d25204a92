"""From a trainer and what a person says of its policies to everything that goes through the steps."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

import risk_policy

from . import adapters, shards
from .alignment import AlignmentRows
from .errors import UnsuitableSetup
from .policies import Policies
from .prompts import Anchors, Canary, examples
from .ranks import Ranks
from .readout import Reader, Reference
from .records import Records, free_folder, versions
from .settings import RiskPolicyConfig
from .signals import Reads, Sensors
from .steps import Steps


def check_trainer(trainer: Any) -> None:
    """Refuses arguments under which a policy's weights wouldn't be what is trained."""
    args = trainer.args
    problems = [
        (args.fp16, "fp16 scales losses and drops updates by itself; use bf16=True or float32"),
        (
            getattr(trainer.accelerator, "parallelism_config", None) is not None,
            "tensor, context and sequence parallelism share out samples, which policies see whole; leave out parallelism_config",
        ),
        (args.n_gpu > 1, "nn.DataParallel splits batches where nobody sees them; use accelerate launch, or one CUDA_VISIBLE_DEVICES"),
        (
            args.gradient_checkpointing and bool((args.gradient_checkpointing_kwargs or {}).get("use_reentrant")),
            "reentrant checkpointing can't be differentiated beside the batch; set gradient_checkpointing_kwargs={'use_reentrant': False}",
        ),
        (args.label_smoothing_factor > 0, "label_smoothing_factor replaces the cross-entropy that policies weigh; set it to 0"),
        (args.auto_find_batch_size, "auto_find_batch_size changes the steps that policies were configured for; set a batch size"),
        (trainer.compute_loss_func is not None, "compute_loss_func replaces the loss that policies weigh; leave it out"),
        (getattr(args, "loss_type", "nll") != "nll", "loss_type must be 'nll': policies weigh the cross-entropy"),
        (getattr(trainer, "aux_loss_enabled", False), "the auxiliary loss of the router isn't part of the objective; set router_aux_loss_coef=0.0"),
        (
            getattr(args, "packing", False) and not getattr(trainer, "padding_free", False),
            "packing without position ids hides where samples begin; use packing_strategy='bfd', or packing=False",
        ),
    ]
    for wrong, remedy in problems:
        if wrong:
            raise UnsuitableSetup(remedy)
    if args.max_steps <= 0 and not hasattr(trainer.train_dataset, "__len__"):
        raise UnsuitableSetup("the training data have no length; set max_steps, which policies are told")


def _tokenizer(trainer: Any) -> Any:
    found = getattr(trainer, "processing_class", None)
    return getattr(found, "tokenizer", found)


def _pad(trainer: Any) -> int:
    for one in (_tokenizer(trainer), trainer.model.config, getattr(trainer.model, "generation_config", None)):
        for name in ("pad_token_id", "eos_token_id"):
            found = getattr(one, name, None)
            if isinstance(found, int):
                return found
    return 0


def _needs_tokenizer(config: RiskPolicyConfig, trainer: Any) -> None:
    prompts = [*config.canary, *config.anchors_harmful, *config.anchors_harmless, *(one for one, _ in config.labelled)]
    if prompts and _tokenizer(trainer) is None:
        raise UnsuitableSetup("prompts are given and the trainer has no tokenizer; pass processing_class=tokenizer")


def prepare(trainer: Any, config: RiskPolicyConfig, checkpoint: str | None) -> Steps:
    """Loads and configures the policies, refuses what they can't have, calibrates them, and opens the records."""
    _needs_tokenizer(config, trainer)
    model, args = trainer.model, trainer.args
    ranks = Ranks(shards.are_in(model))
    text = adapters.causal_model(model).config.get_text_config()
    run = {
        "layers": text.num_hidden_layers, "hidden": text.hidden_size, "vocabulary": text.vocab_size,
        "samples_per_step": trainer.get_total_train_batch_size(args), "total_steps": trainer.state.max_steps, "seed": args.seed,
    }
    has = {
        "canary": bool(config.canary), "anchors": (bool(config.anchors_harmful), bool(config.anchors_harmless)),
        "alignment": bool(config.alignment), "additive": adapters.is_additive(model),
        "moments": not trainer.is_deepspeed_enabled,
    }
    policies = ranks.from_root(lambda: _shared(Policies(config, run, has) if ranks.is_root else None, ranks))
    reader = Reader(model, _pad(trainer), config.chunk, ranks)
    if ranks.is_root and policies.mine is not None:
        folder = Path(config.output) if config.output is not None else free_folder(Path(args.output_dir))
    else:
        folder = Path(args.output_dir)
    saved = _saved(checkpoint)
    if saved is not None:
        folder = Path(saved["folder"])
    _fit(policies, config, trainer, reader, ranks, folder)
    return _begin(trainer, config, run, policies, reader, ranks, folder, saved)


class Shared:
    """The policies, on rank 0 alone; what they need, everywhere. Only the latter goes from process to process."""

    def __init__(self, mine: Policies | None, needs: list[Any], to_fit: list[Any]) -> None:
        self.mine, self.needs, self.to_fit = mine, needs, to_fit

    def __getstate__(self) -> dict[str, Any]:
        return {"mine": None, "needs": self.needs, "to_fit": self.to_fit}


def _shared(policies: Policies | None, ranks: Ranks) -> Shared:
    assert policies is not None and ranks.is_root
    return Shared(policies, policies.needs, policies.to_fit())


def _fit(policies: Shared, config: RiskPolicyConfig, trainer: Any, reader: Reader, ranks: Ranks, folder: Path) -> None:
    """Calibrates what came without a calibration, on the labelled prompts."""
    for index, taps in policies.to_fit:
        if any(tap[0] == "Current" or tap[1] == "AnswerMean" for tap in taps):
            raise UnsuitableSetup("a policy is to be fitted on answers or on the model in training; calibrate it with `host calibrate`")
        measured = examples(config.labelled, taps, _tokenizer(trainer), reader) if ranks.is_root or ranks.lockstep else None

        def fit(index: int = index, measured: Any = measured) -> list[Any]:
            policies.mine.fit(index, *measured, folder)
            return policies.mine.needs

        policies.needs = ranks.from_root(fit)


def _saved(checkpoint: str | None) -> dict[str, Any] | None:
    if checkpoint is None:
        return None
    path = Path(checkpoint) / FILE
    if not path.is_file():
        raise UnsuitableSetup(f"{path} isn't there, so the checkpoint is of no training under a policy; name one that is, or start anew")
    return json.loads(path.read_text())


#: In a checkpoint of the trainer: what policies and steps carry, and tensors that actuators keep.
FILE, TENSORS = "risk_policy.json", "risk_policy.pt"


def _begin(
    trainer: Any, config: RiskPolicyConfig, run: dict[str, int], policies: Shared, reader: Reader, ranks: Ranks, folder: Path,
    saved: dict[str, Any] | None,
) -> Steps:
    needs, tokenizer = policies.needs, _tokenizer(trainer)
    budget = config.reference_cache_mib << 20
    reference = Reference(reader, Reads.of(needs).reference, budget)
    canary = None
    if any(one["canary_every"] is not None for one in needs):
        canary = Canary(config.canary, config.refusal, config.compliance, tokenizer, reader)
    wanted = next((one["anchors"] for one in needs if one.get("anchors")), None)
    anchors = None
    if wanted is not None:
        anchors = Anchors(wanted, config.anchors_harmful, config.anchors_harmless, tokenizer, reader, run["total_steps"], budget)
    declared = {name for one in needs for name in one["actuators"]}
    alignment = AlignmentRows(config.alignment, trainer.args.seed) if "alignment-extra" in declared else None

    def open_records() -> Any:
        records = Records(folder, _made_of(trainer, run, policies.mine))
        if saved is None:
            records.begin()
        else:
            records.resume(saved["steps"]["lines"])
            policies.mine.restore(saved["policies"])
        policies.mine.begin(folder / "journal", records.identity, None if saved is None else saved["policies"]["journal"])
        return _Here(records)

    records = ranks.from_root(open_records)
    steps = Steps(trainer.model, reader, reference, Sensors(needs, reader, reference, canary), ranks, policies.mine, records.mine, declared, anchors, alignment)
    steps.several = max(trainer.args.per_device_train_batch_size, 1)
    if saved is not None:
        steps.restore(saved["steps"])
    return steps


class _Here:
    """Something that stays on its process."""

    def __init__(self, mine: Any) -> None:
        self.mine = mine

    def __getstate__(self) -> dict[str, Any]:
        return {"mine": None}


def _made_of(trainer: Any, run: dict[str, int], policies: Policies) -> dict[str, Any]:
    text = adapters.causal_model(trainer.model).config
    return {
        "risk_policy": risk_policy.__version__, "versions": versions(), "run": run,
        "model": {"name": getattr(text, "_name_or_path", ""), "type": text.model_type},
        "adapter": adapters.describe(trainer.model),
        "policies": [
            {
                "name": one.policy.name, "version": one.policy.version, "file": str(one.policy.path), "sha256": one.policy.digest,
                "contract": one.policy.contract, "settings": one.settings,
                "parameters_sha256": hashlib.sha256(one.parameters).hexdigest() if one.parameters else None,
            }
            for one in policies.configured
        ],
        "training": {
            name: getattr(trainer.args, name)
            for name in ("learning_rate", "per_device_train_batch_size", "gradient_accumulation_steps", "max_grad_norm", "weight_decay", "bf16")
        },
        "rows": len(trainer.train_dataset) if hasattr(trainer.train_dataset, "__len__") else None,
        "processes": trainer.args.world_size,
    }


def save(steps: Steps, folder: Path) -> None:
    """Writes what the run needs to go on into a checkpoint of the trainer, on rank 0; every process must ask."""
    tensors = steps.update.saved()
    if steps.records is None:
        return
    saved = {"folder": str(steps.records.folder.resolve()), "policies": steps.policies.saved(), "steps": steps.saved()}
    (folder / FILE).write_text(json.dumps(saved, default=float))
    torch.save(tensors, folder / TENSORS)


def load_tensors(steps: Steps, checkpoint: str) -> None:
    """What actuators keep, from a checkpoint."""
    steps.update.restore(torch.load(Path(checkpoint) / TENSORS, map_location="cpu", weights_only=True))
