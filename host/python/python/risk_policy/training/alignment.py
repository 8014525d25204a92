"""Alignment samples in addition to the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .batches import IGNORED, Sample
from .errors import UnsuitableSetup


class AlignmentRows:
    """An endless order of alignment rows, of which a step takes as many as a policy asked for at the step before."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], seed: int) -> None:
        self.samples = [self._sample(row, number) for number, row in enumerate(rows)]
        self.seed = seed
        #: Samples of the next step, and how many were taken before it.
        self.count = 0
        self.taken = 0

    @staticmethod
    def _sample(row: Mapping[str, Any], number: int) -> Sample:
        if "input_ids" not in row or "labels" not in row or len(row["input_ids"]) != len(row["labels"]):
            raise UnsuitableSetup(f"alignment row {number} has no input_ids and labels of one length; tokenise it as the trainer does its own")
        tokens, labels = torch.tensor(list(row["input_ids"])), torch.tensor(list(row["labels"]))
        answer = (labels[1:] != IGNORED).nonzero().flatten() + 1
        if not answer.numel():
            raise UnsuitableSetup(f"alignment row {number} has no answer: all its labels are -100")
        return Sample(tokens, answer, labels[answer], origin="alignment")

    def _at(self, place: int) -> Sample:
        epoch, index = divmod(place, len(self.samples))
        order = torch.randperm(len(self.samples), generator=torch.Generator().manual_seed(self.seed * 1_000_003 + epoch))
        return self.samples[int(order[index])]

    def next(self, rank: int, ranks: int) -> list[Sample]:
        """This process's share of the next step's; every process must ask."""
        mine = [self._at(self.taken + i) for i in range(rank, self.count, ranks)]
        self.taken += self.count
        return mine

    def ask(self, count: int | None) -> None:
        """How many the steps from the next one on take; none leaves it as it is."""
        if count is not None:
            self.count = count

    def saved(self) -> dict[str, int]:
        """What goes into a checkpoint."""
        return {"count": self.count, "taken": self.taken}

    def restore(self, saved: Mapping[str, int]) -> None:
        """The way back."""
        self.count, self.taken = saved["count"], saved["taken"]
