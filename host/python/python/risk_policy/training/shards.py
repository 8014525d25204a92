"""Parameters that several processes hold in shards (FSDP2), from a shard to the whole and back.

Outside a forward every process has its shard of a parameter. Putting one together needs all processes at once, so what
calls for it is done by all of them, in the same order, also by one that has nothing to measure.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .errors import UnsuitableSetup

if dist.is_available():
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor, distribute_tensor
else:
    FSDPModule = DTensor = ()


def are_in(model: nn.Module) -> bool:
    """Whether the model's parameters are held in shards."""
    return any(isinstance(module, FSDPModule) for module in model.modules())


def lay_down(model: nn.Module) -> None:
    """After this the parameters of the model are the shards: a forward without a backward leaves some of them whole."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def whole(value: Tensor) -> Tensor:
    """All of a tensor; every process must ask."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def mine(value: Tensor) -> Tensor:
    """What this process has of a tensor."""
    return value.to_local() if isinstance(value, DTensor) else value


def like(value: Tensor, other: Tensor) -> Tensor:
    """A whole tensor, which every process has, shared out as another one is."""
    if not isinstance(other, DTensor) or isinstance(value, DTensor):
        return value
    return distribute_tensor(value.to(other.device), other.device_mesh, other.placements, src_data_rank=None)


def asked_for(args: Any) -> dict[str, Any] | None:
    """How FSDP is wanted, by the arguments of a trainer or by ``accelerate launch``; none if it isn't.

    Refuses version 1, before accelerate makes anything of it."""
    found = args.fsdp_plugin_args
    if found is None and os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true":
        # The rest accelerate reads from the environment by itself.
        found = {"fsdp_version": int(os.environ.get("FSDP_VERSION", "1"))}
    if found is not None:
        _check_version(found["fsdp_version"])
    return found


def _check_version(version: int) -> None:
    if version != 2:
        raise UnsuitableSetup(
            "FSDP of version 1 lays parameters flat, so nothing tells which are the adapter's; "
            "set fsdp_config={'version': 2}, or accelerate launch --fsdp_version 2"
        )


def on_cpu(trainer: Any, asked: dict[str, Any] | None) -> None:
    """Lets a trainer of several CPU processes shard, where accelerate leaves FSDP out without a word."""
    from accelerate import DistributedType, PartialState
    from accelerate.utils import FullyShardedDataParallelPlugin

    state = trainer.accelerator.state
    if asked is None or trainer.is_fsdp_enabled or state.distributed_type != DistributedType.MULTI_CPU:
        return
    plugin = FullyShardedDataParallelPlugin(**asked)
    # Whoever asks for accelerate's state takes the kind of the process again.
    state.distributed_type = PartialState().distributed_type = DistributedType.FSDP
    state.fsdp_plugin = plugin
    if state.mixed_precision != "no":
        plugin.set_mixed_precision(state.mixed_precision)
    trainer.is_fsdp_enabled = True


def check(trainer: Any, parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
    """Refuses a way of sharding in which a policy can't be served."""
    if getattr(trainer, "is_distributed_loading_by_transformers", False):
        raise UnsuitableSetup(
            "the model was sharded when it was loaded, and its adapter is not; load it without distributed_config, "
            "and set fsdp=True in the arguments of the trainer"
        )
    if not getattr(trainer, "is_fsdp_enabled", False):
        return
    plugin = trainer.accelerator.state.fsdp_plugin
    _check_version(getattr(plugin, "fsdp_version", 1))
    if plugin.cpu_ram_efficient_loading or not (dist.is_initialized() and dist.get_world_size() > 1):
        return
    digest = hashlib.sha256()
    for name, one in parameters:
        digest.update(name.encode())
        digest.update(one.detach().float().cpu().numpy().tobytes())
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, digest.hexdigest())
    if len(set(found)) > 1:
        raise UnsuitableSetup(
            "the processes begin with different adapters, of which FSDP would take a piece each; "
            "call transformers.set_seed before the model is made, or set cpu_ram_efficient_loading in fsdp_config"
        )
