"""The adapter of a model: what a policy can rely on, and how far it has moved the weights.

The reference is the same weights with the adapter off, so all that is trained must be the adapter.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from . import shards
from .errors import UnsuitableSetup

#: Starts under which the base weights stay what they were; others take something away from them.
_KEEPS_BASE = (True, False, "gaussian", "orthogonal", "eva", "loftq")


@dataclass(frozen=True)
class Pair:
    """The two matrices of one adapted matrix: its update is ``scaling * b @ a``."""

    name: str
    #: [rank, inputs].
    a: nn.Parameter
    #: [outputs, rank].
    b: nn.Parameter
    scaling: float


def causal_model(model: nn.Module) -> nn.Module:
    """The causal language model inside a peft model."""
    return model.get_base_model()


def check(model: nn.Module) -> None:
    """Refuses what isn't a causal language model with one LoRA adapter and nothing else to train."""
    try:
        from peft import PeftModel, PeftType
    except ImportError as missing:
        raise UnsuitableSetup("peft isn't installed; pip install peft") from missing
    if not isinstance(model, PeftModel):
        raise UnsuitableSetup(
            "the model has no peft adapter, and the reference of a policy is the model with its adapter off; "
            "pass peft_config=LoraConfig(...), or a model from peft.get_peft_model"
        )
    active = list(model.active_adapters)
    if len(active) != 1:
        raise UnsuitableSetup(
            f"{len(active)} adapters are active ({', '.join(active) or 'none'}), and the reference is the model with one adapter off; "
            "merge the others into the model, or model.set_adapter(NAME)"
        )
    config = model.peft_config[active[0]]
    if config.peft_type != PeftType.LORA:
        raise UnsuitableSetup(f"the adapter is of the kind {config.peft_type.value}; use LoRA (peft.LoraConfig)")
    start = config.init_lora_weights
    if start not in _KEEPS_BASE:
        raise UnsuitableSetup(
            f"init_lora_weights = {start!r} takes a part of the weights into the adapter, so the model with the adapter off isn't "
            "the one that was loaded; leave it at True"
        )
    beside = [name for name, one in model.named_parameters() if one.requires_grad and "lora_" not in name]
    if beside:
        raise UnsuitableSetup(
            f"{beside[0]} is trained beside the adapter ({len(beside)} parameters), so the model with the adapter off isn't what it was; "
            "leave out modules_to_save, bias and trainable_token_indices"
        )
    trained = [(name, one) for name, one in model.named_parameters() if one.requires_grad]
    if not trained:
        raise UnsuitableSetup("no parameter of the adapter is trained; load it with is_trainable=True")
    for name, one in trained:
        if one.dtype not in (torch.float32, torch.bfloat16):
            raise UnsuitableSetup(f"{name} is {one.dtype}; train adapters in float32 or bfloat16")
    inner = causal_model(model)
    layers = getattr(getattr(inner, "get_decoder", lambda: None)(), "layers", None)
    if layers is None or inner.get_output_embeddings() is None:
        raise UnsuitableSetup(f"{type(inner).__name__} is no causal language model of decoder blocks, of which signals are read")


def is_additive(model: nn.Module) -> bool:
    """Whether the adapter adds matrices of low rank and does nothing else (DoRA does)."""
    return not model.peft_config[model.active_adapters[0]].use_dora


def pairs(model: nn.Module) -> list[Pair]:
    """Every adapted matrix, by name."""
    adapter = model.active_adapters[0]
    found = []
    for name, module in model.named_modules():
        a = getattr(module, "lora_A", None)
        if isinstance(a, nn.ModuleDict) and adapter in a:
            scaling = float(module.scaling[adapter])
            found.append(Pair(name, a[adapter].weight, module.lora_B[adapter].weight, scaling))
    return sorted(found, key=lambda pair: pair.name)


def trained(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """What is trained, in the order of the model."""
    return [(name, one) for name, one in model.named_parameters() if one.requires_grad]


def layer_of(name: str) -> int | None:
    """The decoder block that a parameter belongs to, from 0."""
    found = re.search(r"\.layers\.(\d+)\.", name)
    return int(found[1]) if found else None


def _grams(pair: Pair) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A, B, B^T B and A A^T, f64; the last two [rank, rank]."""
    a, b = (shards.whole(one.detach()).double() for one in (pair.a, pair.b))
    return a, b, b.T @ b, a @ a.T


@torch.no_grad()
def drift(model: nn.Module) -> float:
    """|s B A| over all adapted matrices, by |B A|^2 = trace((B^T B)(A A^T)), so no matrix is formed."""
    shards.lay_down(model)
    squares = 0.0
    for pair in pairs(model):
        _, _, inner, outer = _grams(pair)
        squares += pair.scaling**2 * float((inner * outer).sum())
    return math.sqrt(max(squares, 0.0))


@torch.no_grad()
def pull_to_reference(model: nn.Module, strength: float) -> float:
    """Adds the gradient of strength / 2 * |s B A|^2, and returns its value: by B it is s^2 B (A A^T), by A s^2 (B^T B) A."""
    shards.lay_down(model)
    value = 0.0
    for pair in pairs(model):
        a, b, inner, outer = _grams(pair)
        factor = strength * pair.scaling**2
        value += factor / 2.0 * float((inner * outer).sum())
        add_gradient(pair.b, factor * (b @ outer))
        add_gradient(pair.a, factor * (inner @ a))
    return value


def add_gradient(parameter: nn.Parameter, gradient: Tensor) -> None:
    """Adds to what the parameter's gradient is. Of a parameter in shards every process has the whole gradient."""
    gradient = shards.like(gradient.to(parameter.dtype), parameter)
    parameter.grad = gradient.clone() if parameter.grad is None else parameter.grad + gradient


def _train(model: nn.Module, names: set[str]) -> None:
    """Lets these parameters be trained, and no other."""
    for name, one in model.named_parameters():
        if one.requires_grad != (name in names):
            one.requires_grad_(name in names)


@contextlib.contextmanager
def reading(model: nn.Module, reference: bool) -> Iterator[None]:
    """The model as it is read, without gradient and dropout; with the adapter off if ``reference``."""
    modes = [module for module in model.modules() if module.training]
    learned = {name for name, _ in trained(model)}
    model.eval()
    try:
        with torch.no_grad(), model.disable_adapter() if reference else contextlib.nullcontext():
            # peft says of an adapter that is off that it isn't trained, which FSDP would believe from then on.
            _train(model, learned)
            yield
    finally:
        for module in modes:
            module.training = True
        # And of one that is on that all of it is.
        _train(model, learned)


def describe(model: nn.Module) -> dict[str, Any]:
    """What a manifest says of the adapter."""
    config = model.peft_config[model.active_adapters[0]]
    return {
        "rank": config.r,
        "alpha": config.lora_alpha,
        "targets": sorted(config.target_modules) if not isinstance(config.target_modules, str) else config.target_modules,
        "rank_stabilized": bool(config.use_rslora),
        "dora": bool(config.use_dora),
    }
