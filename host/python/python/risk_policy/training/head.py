"""The last layer of the model, on the rows that predict answer tokens alone and a part of them at a time.

Whole logits would be [tokens, vocabulary]; nothing here holds more than ``chunk`` rows of them.
"""

from __future__ import annotations

import contextlib
import functools
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from . import shards
from .errors import UnsuitableSetup

#: Reads what it wants of final hidden states [rows, tokens, hidden], while the model is in its forward.
Reader = Callable[[Tensor, "Head"], dict[str, Tensor]]


@dataclass(frozen=True)
class Head:
    """Logits of final hidden states: ``softcap(scale * (h W^T + bias))``, in f32."""

    weight: Tensor
    bias: Tensor | None
    scale: float
    softcap: float | None

    def __call__(self, hidden: Tensor) -> Tensor:
        """From [rows, hidden] to [rows, vocabulary]."""
        logits = nn.functional.linear(hidden.to(self.weight.dtype), self.weight, self.bias).float() * self.scale
        return logits if self.softcap is None else torch.tanh(logits / self.softcap) * self.softcap


def _scale(config: Any) -> float:
    """What a family multiplies its logits by; each has its own name for it."""
    for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
        if getattr(config, name, None) is not None:
            return float(getattr(config, name))
    scaling = getattr(config, "logits_scaling", None)
    if scaling is None:
        return 1.0
    return float(scaling) if config.model_type == "hyperclovax" else 1.0 / float(scaling)


def head_of(model: nn.Module) -> Head:
    """The head of a causal language model, whole; where it is in shards every process must ask."""
    config = model.config.get_text_config()
    layer = model.get_output_embeddings()
    if layer is None:
        raise UnsuitableSetup(f"{type(model).__name__} has no output embeddings; a policy needs a causal language model")
    bias = getattr(layer, "bias", None)
    bias = None if bias is None else shards.whole(bias.detach())
    return Head(shards.whole(layer.weight.detach()), bias, _scale(config), getattr(config, "final_logit_softcapping", None))


def let_read(model: nn.Module) -> None:
    """Gives a causal language model's forward the argument ``risk_policy_reader``.

    Under it the forward ends at the final hidden states, which the reader takes: within the forward, so that a wrapper of
    the model (DDP) sees one call like any other.
    """
    if getattr(model, "_risk_policy_reads", False):
        return
    before = model.forward

    # With the signature of the model's own forward, which `generate` looks at.
    @functools.wraps(type(model).forward)
    def forward(self: nn.Module, *args: Any, risk_policy_reader: Reader | None = None, **inputs: Any) -> Any:
        if risk_policy_reader is None:
            return before(*args, **inputs)
        inputs = {name: value for name, value in inputs.items() if value is not None and name != "labels"}
        hidden = self.get_decoder()(*args, **inputs, use_cache=False).last_hidden_state
        return risk_policy_reader(hidden, head_of(self))

    model.forward = types.MethodType(forward, model)
    model._risk_policy_reads = True


@contextlib.contextmanager
def inputs_of_blocks(model: nn.Module, layers: set[int], to: dict[int, Tensor]) -> Iterator[None]:
    """Notes the residual stream at these layers while the model runs.

    Layer 0 is the embedding output, layer i the stream after decoder block i, before the final norm: [rows, tokens, hidden].
    """
    blocks = model.get_decoder().layers
    hooks = []

    def before_all(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        to[0] = (args[0] if args else kwargs["hidden_states"]).detach()

    def after(layer: int) -> Callable[..., None]:
        def note(_: nn.Module, __: Any, output: Any) -> None:
            to[layer] = (output[0] if isinstance(output, tuple) else output).detach()

        return note

    for layer in layers:
        if layer == 0:
            hooks.append(blocks[0].register_forward_pre_hook(before_all, with_kwargs=True))
        else:
            hooks.append(blocks[layer - 1].register_forward_hook(after(layer)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def log_probs(hidden: Tensor, labels: Tensor, head: Head, chunk: int) -> Tensor:
    """ln P of each label: [rows], f32, without gradient."""
    parts = []
    with torch.no_grad():
        for rows, wanted in zip(hidden.split(chunk), labels.to(hidden.device).split(chunk)):
            parts.append(head(rows).log_softmax(-1).gather(1, wanted[:, None])[:, 0])
    return torch.cat(parts) if parts else torch.zeros(0)


class _AnswerLoss(torch.autograd.Function):
    """The weighted sum and, without gradient, each token's cross-entropy and KL.

    The gradient by the hidden states is made in the forward, chunk by chunk, so no chunk's logits outlive it.
    """

    @staticmethod
    def forward(ctx, hidden, head, reference, labels, task, kl, chunk):  # noqa: ANN001, ANN205
        gradient = torch.empty_like(hidden)
        total = torch.zeros((), dtype=torch.float64, device=hidden.device)
        entropies, divergences = [], []
        for start in range(0, hidden.shape[0], chunk):
            at = slice(start, start + chunk)
            with torch.enable_grad():
                rows = hidden[at].detach().requires_grad_()
                current = head(rows).log_softmax(-1)
                entropy = -current.gather(1, labels[at, None])[:, 0]
                value = (task[at] * entropy).sum()
                if reference is not None:
                    with torch.no_grad():
                        teacher = head(reference[at]).log_softmax(-1)
                    divergence = (teacher.exp() * (teacher - current)).sum(-1)
                    value = value + (kl[at] * divergence).sum()
                    divergences.append(divergence.detach())
                (gradient[at],) = torch.autograd.grad(value, rows)
            total += value.detach()
            entropies.append(entropy.detach())
        ctx.save_for_backward(gradient)
        empty = hidden.new_zeros(0, dtype=torch.float32)
        entropies, divergences = (torch.cat(one) if one else empty for one in (entropies, divergences))
        ctx.mark_non_differentiable(entropies, divergences)
        return total.float(), entropies, divergences

    @staticmethod
    def backward(ctx, by_total, *_):  # noqa: ANN001, ANN205
        (gradient,) = ctx.saved_tensors
        return gradient * by_total.to(gradient.dtype), None, None, None, None, None, None


def answer_loss(
    hidden: Tensor, head: Head, reference: Tensor | None, labels: Tensor, task: Tensor, kl: Tensor, chunk: int
) -> tuple[Tensor, Tensor, Tensor]:
    """``sum over answer tokens of task * CE + kl * KL(reference || current)``, and every CE and KL in nats.

    ``hidden`` and ``reference`` are final hidden states [answer tokens, hidden] of the rows that predict the labels;
    ``task`` and ``kl`` are weights [answer tokens], already divided by N. Without a reference there is no KL.
    """
    device = hidden.device
    labels, task, kl = labels.to(device), task.to(device), kl.to(device)
    reference = None if reference is None else reference.to(device)
    return _AnswerLoss.apply(hidden, head, reference, labels, task, kl, chunk)


@torch.no_grad()
def check(model: nn.Module, inner: nn.Module) -> None:
    """Refuses a model whose logits aren't those of its head: a factor or a cap that is unknown here would train another loss.

    ``model`` is called, ``inner`` is the causal language model inside it.
    """
    ids = torch.arange(1, 5, device=inner.get_output_embeddings().weight.device)[None]
    modes = [module for module in model.modules() if module.training]
    model.eval()
    try:
        own = model(input_ids=ids).logits.float()
        ours = model(input_ids=ids, risk_policy_reader=lambda hidden, head: {"logits": head(hidden[0])})["logits"]
    finally:
        for module in modes:
            module.training = True
    tolerance = 1e-3 if own.dtype == inner.get_output_embeddings().weight.dtype else 5e-2
    if float((own[0] - ours).abs().max()) > tolerance * max(float(own.abs().max()), 1.0):
        raise UnsuitableSetup(f"{type(inner).__name__} makes its logits in a way that isn't known here; train it with `host train`")
