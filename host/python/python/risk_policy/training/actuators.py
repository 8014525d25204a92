"""What happens to an update beside the loss: learning rate, scale per block, average, and the way back."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from . import adapters, shards, zero


class Update:
    """The update of a step, between clipping and the next step. All that is kept is kept only if a policy declared it."""

    def __init__(self, parameters: Sequence[tuple[str, nn.Parameter]], declared: set[str]) -> None:
        self.names = [name for name, _ in parameters]
        self.parameters = [one for _, one in parameters]
        self.declared = declared
        #: Parameters before the first step: where the average begins, and where the last switch of data was.
        self.start = self._copy() if declared & {"ema", "anchor"} else None
        self.average: list[torch.Tensor] | None = None
        #: Parameters and moments before the last update.
        self.before: tuple[list[torch.Tensor], dict[int, Any]] | None = None
        self._unscaled: list[float] | None = None

    def _copy(self) -> list[torch.Tensor]:
        return [one.detach().clone() for one in self.parameters]

    def prepare(self, asked: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> float:
        """Before the optimizer's step. Returns the learning rate of the update."""
        if "roll-back" in self.declared:
            moments = {i: copy.deepcopy(dict(optimizer.state.get(one, {}))) for i, one in enumerate(self.parameters)}
            self.before = (self._copy(), moments)
        elif "layer-scale" in self.declared:
            self.before = (self._copy(), {})
        self._unscaled = [group["lr"] for group in optimizer.param_groups]
        scale = asked.get("learning_rate_scale", 1.0)
        if scale != 1.0:
            for group in optimizer.param_groups:
                group["lr"] = group["lr"] * scale
        return float(optimizer.param_groups[0]["lr"])

    @torch.no_grad()
    def finish(self, asked: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> None:
        """After it."""
        if self._unscaled is not None:
            for group, rate in zip(optimizer.param_groups, self._unscaled):
                group["lr"] = rate
        self._unscaled = None
        scales = asked.get("layer_scale")
        if scales is not None and self.before is not None:
            # AdamW divides a gradient by its own size, so the update is scaled and not the gradient.
            for name, one, before in zip(self.names, self.parameters, self.before[0]):
                layer = adapters.layer_of(name)
                if layer is not None and layer < len(scales) and scales[layer] != 1.0:
                    zero.keep(one, before + float(scales[layer]) * (one - before))
        ema = asked.get("ema")
        if ema is not None:
            self._average(ema["decay"], ema["in_path"])

    def _average(self, decay: float, in_path: bool) -> None:
        """avg <- d * avg + (1 - d) * theta (arXiv 2508.12531), from the parameters on that the run began with."""
        if self.average is None:
            self.average = [one.clone() for one in self.start] if self.start is not None else self._copy()
        for average, one in zip(self.average, self.parameters):
            average.mul_(decay).add_(one.detach(), alpha=1.0 - decay)
            if in_path:
                zero.keep(one, average)

    @torch.no_grad()
    def roll_back(self, optimizer: torch.optim.Optimizer) -> None:
        """Undoes the last update, once: there is no way back beyond it."""
        if self.before is None or "roll-back" not in self.declared:
            return
        parameters, moments = self.before
        for i, (one, before) in enumerate(zip(self.parameters, parameters)):
            one.copy_(before)
            if moments[i]:
                optimizer.state[one] = moments[i]
            else:
                optimizer.state.pop(one, None)
        self.before = None

    @torch.no_grad()
    def pull(self, model: nn.Module, anchor: Mapping[str, Any] | None) -> float:
        """Adds the gradient of strength / 2 * distance^2 and returns its value. From the reference the distance is one of
        weights, |s B A|; from the last switch of data, which is the start where data isn't mixed, one of parameters."""
        if anchor is None:
            return 0.0
        strength = anchor["strength"]
        if anchor["target"] == "Reference":
            return adapters.pull_to_reference(model, strength)
        square = 0.0
        for one, start in zip(self.parameters, self.start or []):
            distance = one.detach().double() - start.double()
            square += float(shards.whole(distance.square().sum()))
            adapters.add_gradient(one, strength * distance)
        return strength / 2.0 * square

    @torch.no_grad()
    def close(self) -> None:
        """A policy that averaged the parameters gets the average as the result."""
        for one, average in zip(self.parameters, self.average or []):
            zero.keep(one, average)

    def saved(self) -> dict[str, Any]:
        """What goes into a checkpoint, whole."""
        before = None
        if self.before is not None:
            before = (_whole(self.before[0]), {i: dict(zip(one, _whole(one.values()))) for i, one in self.before[1].items()})
        return {"start": _whole(self.start), "average": _whole(self.average), "before": before}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """The way back."""

        def here(values: Any) -> Any:
            return None if values is None else [_as(one, to) for one, to in zip(values, self.parameters)]

        self.start, self.average = here(saved["start"]), here(saved["average"])
        self.before = None
        if saved["before"] is not None:
            parameters, moments = saved["before"]
            moments = {i: {name: _as(one, self.parameters[i]) for name, one in state.items()} for i, state in moments.items()}
            self.before = (here(parameters), moments)


def _whole(values: Any) -> Any:
    return None if values is None else [shards.whole(one) if isinstance(one, torch.Tensor) else one for one in values]


def _as(value: Any, parameter: nn.Parameter) -> Any:
    """A value where and how its parameter is; the optimizer's count of steps stays as it is."""
    if not isinstance(value, torch.Tensor) or value.shape != parameter.shape:
        return value
    return shards.like(value.to(parameter.device), parameter)
