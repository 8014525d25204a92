"""Policies in trainers of transformers and TRL, for models with a peft adapter.

``RiskPolicyTrainer`` is TRL's ``SFTTrainer``, ``PlainRiskPolicyTrainer`` is ``transformers.Trainer``; ``RiskPolicyMixin`` puts
the same into a trainer of your own. Needs torch, transformers, peft and, for the first, trl. See docs/guide/trl.md.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

for _package in ("torch", "transformers", "peft"):
    if find_spec(_package) is None:
        raise ImportError(f"risk_policy.training needs {_package}, which isn't installed; pip install torch transformers peft trl")

from .errors import NotFinite, UnmetNeed, UnsuitableSetup
from .settings import PolicyChoice, RiskPolicyConfig

__all__ = [
    "NotFinite",
    "PlainRiskPolicyTrainer",
    "PolicyChoice",
    "RiskPolicyConfig",
    "RiskPolicyMixin",
    "RiskPolicyTrainer",
    "UnmetNeed",
    "UnsuitableSetup",
]


def __getattr__(name: str) -> Any:
    if name not in ("PlainRiskPolicyTrainer", "RiskPolicyMixin", "RiskPolicyTrainer"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import trainer

    try:
        return getattr(trainer, name)
    except AttributeError:
        raise ImportError("RiskPolicyTrainer is TRL's SFTTrainer under policies; pip install trl") from None
