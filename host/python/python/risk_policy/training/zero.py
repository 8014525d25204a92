"""DeepSpeed's ZeRO: parameters are whole on every process, the optimizer's moments and its own copy of the parameters are in
partitions.

Its engine reduces gradients, clips and updates in one go. So here each process takes its gradients without the engine, they
come together as under DDP, everything that policies ask for acts on them, and the engine is handed the result: by the loss
``sum <parameter, gradient>``, which is the same on all processes and whose gradient is just that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from . import adapters
from .errors import UnsuitableSetup


def check(trainer: Any) -> None:
    """Refuses a way of partitioning in which a policy can't be served."""
    if not getattr(trainer, "is_deepspeed_enabled", False):
        return
    config = trainer.accelerator.state.deepspeed_plugin.deepspeed_config
    zero = config.get("zero_optimization", {})
    stage = zero.get("stage", 0)
    if stage not in (1, 2):
        raise UnsuitableSetup(
            f"ZeRO of stage {stage} " + ("takes parameters apart" if stage == 3 else "is another optimizer")
            + '; set "stage": 1 or 2 in zero_optimization, or fsdp=True in place of DeepSpeed, which has what stage 3 has'
        )
    if any(zero.get(f"offload_{what}", {}).get("device", "none") != "none" for what in ("optimizer", "param")):
        raise UnsuitableSetup("offloading changes the optimizer that actuators work on; leave offload_optimizer and offload_param out")
    if config.get("fp16", {}).get("enabled") is True:
        raise UnsuitableSetup("fp16 scales losses and drops updates by itself; use bf16 or float32")
    if "optimizer" in config or "scheduler" in config:
        raise UnsuitableSetup(
            "optimizer and scheduler of the configuration of DeepSpeed go by rules of their own; leave them out, and the trainer's are used"
        )


class Engine:
    """Takes the place of accelerate's wrapper of the engine."""

    def __init__(self, engine: Any, parameters: Sequence[nn.Parameter]) -> None:
        self.engine, self.parameters = engine, list(parameters)
        # Gradients are clipped before the engine gets them.
        engine.optimizer.clip_grad = 0.0

    def backward(self, loss: Tensor, sync_gradients: bool = True, **_: Any) -> None:
        """Adds the gradients of a micro-batch; after the last one they are the means over the processes, as under DDP."""
        for one, gradient in zip(self.parameters, torch.autograd.grad(loss, self.parameters, allow_unused=True)):
            if gradient is not None:
                adapters.add_gradient(one, gradient)
        if not sync_gradients:
            return
        for one in self.parameters:
            if one.grad is None:
                one.grad = torch.zeros_like(one)
            dist.all_reduce(one.grad)
            one.grad /= dist.get_world_size()

    def clip(self, limit: float) -> Tensor:
        """Clips the gradient of the step, unless the limit is 0. Returns its norm before."""
        return nn.utils.clip_grad_norm_(self.parameters, limit if limit > 0 else float("inf"))

    def step(self) -> None:
        """The engine's update by the gradients that there are."""
        loss = torch.zeros((), device=self.parameters[0].device)
        for one in self.parameters:
            gradient, one.grad = one.grad, None
            if gradient is not None:
                loss = loss + (one * gradient).sum()
        self.engine.set_gradient_accumulation_boundary(is_boundary=True)
        self.engine.backward(loss, scale_wrt_gas=False)
        self.engine.step()

    def pass_over(self) -> None:
        """A step without an update: the schedule goes on, as it does without DeepSpeed."""
        for one in self.parameters:
            one.grad = None
        if self.engine.lr_scheduler is not None:
            self.engine.lr_scheduler.step()


def keep(parameter: nn.Parameter, value: Tensor) -> None:
    """Sets a parameter, and the optimizer's own copy of it, where there is one."""
    parameter.copy_(value)
    if hasattr(parameter, "_hp_mapping"):
        parameter.set_full_hp_param(value.to(torch.float32))
