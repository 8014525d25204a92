"""Gradients of losses beside the batch: alignment samples and safety anchors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .ranks import Ranks


class Beside:
    """Adds the gradient of such losses, of which every process has a share, to that of the batch."""

    def __init__(self, parameters: Sequence[nn.Parameter], ranks: Ranks) -> None:
        self.parameters, self.ranks = parameters, ranks
        self._sums: list[Tensor | None] = [None] * len(parameters)

    def add(self, value: Tensor) -> None:
        """A loss of this process's share. Where parameters are in shards, every process must call it equally often."""
        if self.ranks.lockstep:
            # Parameters are whole within the forward alone, so their gradient comes as that of the batch does: as a mean.
            (value * float(self.ranks.size)).backward()
            return
        for index, gradient in enumerate(torch.autograd.grad(value, list(self.parameters), allow_unused=True)):
            before = self._sums[index]
            self._sums[index] = gradient if before is None or gradient is None else before + gradient

    def close(self) -> None:
        """After the last of them."""
        if not self.ranks.lockstep:
            self.ranks.add_gradients(self.parameters, self._sums)
