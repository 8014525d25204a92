"""What a person says of the policies of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union

from .errors import UnsuitableSetup
from .prompts import Prompt


@dataclass
class PolicyChoice:
    """A policy and its settings."""

    #: A file, ``builtin:NAME``, or ``oci://REGISTRY/NAME:TAG``.
    path: str | Path
    settings: Mapping[str, Any] | None = None
    #: What ``host calibrate`` or ``Calibration.save`` wrote, for a policy that has to be fitted.
    calibration: str | Path | None = None
    #: Pins the file.
    sha256: str | None = None
    #: Public key by which it must be signed.
    signed_by: str | Path | None = None


@dataclass
class RiskPolicyConfig:
    """The policies of a training, and what it has for them."""

    policies: Sequence[PolicyChoice | str | Path]
    #: Folder of the records: journal, adapter, trainer.json, manifest.json, metrics.jsonl. Must not exist. Default: ``risk_policy`` in the trainer's
    #: ``output_dir``, numbered if it is taken.
    output: str | Path | None = None
    #: Prompts and whether they are harmful, to fit policies on that came without a calibration.
    labelled: Sequence[tuple[Prompt, bool]] = ()
    #: Held-out harmful prompts, used as a sensor, and how refusals and compliance begin.
    canary: Sequence[Prompt] = ()
    refusal: str = "I can't"
    compliance: str = "Sure, here"
    #: Prompts beside the batch on which the model is held to the reference.
    anchors_harmful: Sequence[Prompt] = ()
    anchors_harmless: Sequence[Prompt] = ()
    #: Tokenised rows (``input_ids``, ``labels``) that show how the model should stay, for policies that add some to a batch.
    alignment: Sequence[Mapping[str, Any]] = ()
    #: ``stop``, or ``strict=N``: the strictest assessment stands in for a failed one, at most N steps in a row.
    on_fault: str = "stop"
    #: Rules that every assessment must keep, such as ``kl_weight >= 0.5 * risk``.
    require: Sequence[str] = ()
    #: Secret key that signs the journal; that of ``host`` if none is given.
    key: str | Path | None = None
    #: ``full``, or ``light``: digests only, so nothing can be replayed.
    journal: str = "full"
    journal_budget_bytes: int = 4 << 30
    #: Limits of the sandbox by name, as ``[limits]`` of ``host train`` has them.
    limits: Mapping[str, int] = field(default_factory=dict)
    #: Whether policies run in a process without files and network.
    isolate: bool = False
    #: Of policies named ``oci://``, those that were pulled before; no registry is asked.
    offline: bool = False
    #: Memory for what the reference shows of samples; 0 computes it anew every time.
    reference_cache_mib: int = 1024
    #: Rows of logits that are in memory at once.
    chunk: int = 256

    @property
    def choices(self) -> list[PolicyChoice]:
        return [one if isinstance(one, PolicyChoice) else PolicyChoice(one) for one in self.policies]


#: What the argument ``risk_policy`` of a trainer takes.
Given = Union[RiskPolicyConfig, PolicyChoice, str, Path, Sequence[Union[PolicyChoice, str, Path]]]


def settled(given: Given) -> RiskPolicyConfig:
    """A configuration, of whatever a trainer was given."""
    if isinstance(given, RiskPolicyConfig):
        config = given
    else:
        config = RiskPolicyConfig([given] if isinstance(given, (PolicyChoice, str, Path)) else list(given))
    if not config.policies:
        raise UnsuitableSetup("risk_policy names no policy; name one, such as builtin:probe")
    if config.chunk < 1:
        raise UnsuitableSetup(f"chunk is {config.chunk}; it must be at least 1")
    strict = config.on_fault.startswith("strict=") and config.on_fault[7:].isdigit() and int(config.on_fault[7:]) > 0
    if config.on_fault != "stop" and not strict:
        raise UnsuitableSetup(f"on_fault is {config.on_fault!r}; it must be 'stop' or 'strict=N' with N of at least 1")
    return config


def strict_steps(on_fault: str) -> int:
    """Most faults of a policy in a row that are stood in for."""
    return 0 if on_fault == "stop" else int(on_fault[7:])
