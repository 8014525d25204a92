"""Several processes of one training: what each measured comes together, and all hear the same answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from . import adapters
from .errors import NotFinite, UnsuitableSetup

T = TypeVar("T")


def _error(kind: str) -> type[Exception]:
    """The class of this name, which takes one text."""
    import risk_policy

    own = {one.__name__: one for one in (UnsuitableSetup, NotFinite)}
    return own.get(kind) or getattr(risk_policy, kind, RuntimeError)


class Ranks:
    """The processes of a training; one where nothing is distributed.

    ``lockstep``: parameters are in shards, so no process can run the model alone.
    """

    def __init__(self, sharded: bool = False) -> None:
        self.on = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        self.size = dist.get_world_size() if self.on else 1
        self.rank = dist.get_rank() if self.on else 0
        self.lockstep = self.on and sharded

    @property
    def is_root(self) -> bool:
        return self.rank == 0

    def all(self, mine: T) -> list[T]:
        """What every process has, in the order of their ranks, on every process."""
        if not self.on:
            return [mine]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, mine)
        return found

    def due(self, here: bool) -> bool:
        """Whether this process has to run the model, which it needs itself or others do: in lockstep every process must ask."""
        return any(self.all(here)) if self.lockstep else here

    def from_root(self, make: Callable[[], T]) -> T:
        """What rank 0 makes, on every process. If it fails there, it fails everywhere."""
        if not self.on:
            return make()
        message: list[Any] = [None, None]
        if self.is_root:
            try:
                message[0] = make()
            except Exception as error:  # noqa: BLE001
                message[1] = error
        own = message[1]
        if own is not None:
            # Errors of the sandbox go through their class and their words.
            message = [None, (type(own).__name__, str(own))]
        dist.broadcast_object_list(message, src=0)
        if own is not None:
            raise own
        if message[1] is not None:
            kind, words = message[1]
            raise _error(kind)(f"on rank 0: {words}")
        return message[0]

    def sums(self, values: Sequence[float]) -> list[float]:
        """Sums over all processes, in rank order."""
        if not self.on:
            return list(values)
        rows = self.all(list(values))
        return [sum(column) for column in zip(*rows)]

    def add_gradients(self, parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None]) -> None:
        """Adds to each parameter's gradient the sum of what all processes have for it."""
        for parameter, gradient in zip(parameters, gradients):
            total = torch.zeros_like(parameter) if gradient is None else gradient.detach().to(parameter.dtype).clone()
            if self.on:
                dist.all_reduce(total)
            adapters.add_gradient(parameter, total)
