"""What can go wrong between a trainer and its policies."""

from __future__ import annotations

from .. import PolicyError
from .. import UnmetNeed as _UnmetNeed


class UnmetNeed(_UnmetNeed):
    """A policy needs what this training doesn't have; raised before the first step.

    ``need`` says what, in words, and ``remedy`` what to do about it.
    """

    def __init__(self, need: str, remedy: str, policy: str | None = None) -> None:
        who = f"the policy {policy}" if policy else "a policy"
        super().__init__(f"{who} needs {need}, which this training can't meet; {remedy}")
        self.need, self.remedy, self.policy = need, remedy, policy


class UnsuitableSetup(PolicyError, ValueError):
    """The model, the batches or the arguments can't be trained under a policy; the message says what to change."""


class NotFinite(PolicyError, RuntimeError):
    """Three steps in a row had a loss or a gradient that is no finite number; none of them was applied."""
