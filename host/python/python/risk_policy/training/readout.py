"""What the two models show of samples: activations, final hidden states, log-probabilities.

What the reference shows of a sample never changes, so it is kept: final hidden states of the rows that predict the answer
(hidden size values per answer token; logits would be vocabulary values) and the activations of the taps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from . import adapters
from .batches import Sample, labels_of, padded, predicting
from .head import Head, head_of, inputs_of_blocks, log_probs
from .ranks import Ranks

#: Whose, where, and at which layers: a tap of a policy's needs, as something that can be looked up.
Tap = tuple[str, str, tuple[int, ...]]


def tap_of(need: Mapping[str, Any]) -> Tap:
    """The key of a tap that a policy asks for."""
    return need["source"], need["position"], tuple(need["layers"])


@dataclass
class Shown:
    """What one model shows of one sample."""

    #: Final hidden states of the rows that predict its answer: [answer tokens, hidden].
    hidden: Tensor
    #: Per tap, float32: [layers, hidden].
    taps: dict[Tap, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        return self.hidden.numel() * self.hidden.element_size() + sum(one.nbytes for one in self.taps.values())


def _at(stream: Tensor, sample: Sample, position: str) -> Tensor:
    """What a position is of a residual stream [rows, tokens, hidden]: [hidden], f32."""
    row = stream[sample.row, sample.start : sample.start + sample.tokens.numel()]
    prompt = sample.prompt_tokens
    if position == "LastPromptToken":
        return row[prompt - 1].float()
    if position == "PromptMean":
        return row[:prompt].float().mean(0)
    return row[sample.answer.to(row.device)].float().mean(0)


class Reader:
    """Reads samples with the model as it is, or with its adapter off. Where processes go in lockstep, each must read as often
    as the others do."""

    def __init__(self, model: nn.Module, pad: int, chunk: int, ranks: Ranks | None = None) -> None:
        self.model, self.pad, self.chunk = model, pad, chunk
        self.ranks = ranks or Ranks()
        self._inner = adapters.causal_model(model)

    def device(self) -> torch.device:
        return self._inner.get_output_embeddings().weight.device

    def forward(self, inputs: Mapping[str, Any], reader: Callable[[Tensor, Head], dict[str, Tensor]]) -> dict[str, Tensor]:
        """One forward that ends at the final hidden states."""
        device = self.device()
        moved = {name: one.to(device) if isinstance(one, Tensor) else one for name, one in inputs.items() if name != "labels"}
        return self.model(**moved, risk_policy_reader=reader)

    def read(self, inputs: Mapping[str, Any], samples: Sequence[Sample], taps: Sequence[Tap], reference: bool) -> list[Shown]:
        """What the samples of a batch show: final hidden states, and what is at the taps."""
        streams: dict[int, Tensor] = {}
        layers = {layer for tap in taps for layer in tap[2]}
        rows = predicting(samples)
        with adapters.reading(self.model, reference), inputs_of_blocks(self._inner, layers, streams):
            hidden = self.forward(inputs, lambda hidden, _: {"hidden": rows.of(hidden)})["hidden"]
        parts = hidden.split([sample.answer_tokens for sample in samples])
        shown = []
        for sample, part in zip(samples, parts):
            one = Shown(part)
            for tap in taps:
                values = torch.stack([_at(streams[layer], sample, tap[1]) for layer in tap[2]])
                one.taps[tap] = values.cpu().numpy()
            shown.append(one)
        return shown

    def log_probs(self, shown: Sequence[Shown], samples: Sequence[Sample]) -> NDArray[np.float32]:
        """ln P of every answer token under the model that showed this, in nats: [answer tokens]."""
        if not samples and not self.ranks.lockstep:
            return np.zeros(0, dtype=np.float32)
        head = head_of(self._inner)
        if not samples:
            return np.zeros(0, dtype=np.float32)
        hidden = stacked(shown, self.device())
        return log_probs(hidden, labels_of(samples), head, self.chunk).float().cpu().numpy()


class Reference:
    """The reference's view of samples, kept up to a number of bytes. Nothing is evicted: training cycles through its samples."""

    def __init__(self, reader: Reader, taps: Sequence[Tap], budget: int) -> None:
        self.reader, self.taps, self.budget = reader, list(taps), budget
        self._kept: dict[int, Shown] = {}
        self.bytes = 0
        self.forwards = 0

    def of(self, inputs: Mapping[str, Any], samples: Sequence[Sample]) -> list[Shown]:
        """Of the samples of a batch, in their order."""
        missing = [sample for sample in samples if sample.id not in self._kept]
        found: dict[int, Shown] = {}
        if self.reader.ranks.due(bool(missing)) and not missing:
            self.reader.read(*padded((), self.reader.pad), self.taps, reference=True)
        if missing:
            rows = {sample.row for sample in missing}
            part, placed = self._rows(inputs, missing, sorted(rows))
            self.forwards += 1
            for sample, shown in zip(missing, self.reader.read(part, placed, self.taps, reference=True)):
                found[sample.id] = shown
                self._keep(sample.id, shown)
        return [found[sample.id] if sample.id in found else self._kept[sample.id] for sample in samples]

    def of_alone(self, samples: Sequence[Sample]) -> list[Shown]:
        """The same of samples that are in no batch of the trainer."""
        inputs, placed = padded(samples, self.reader.pad)
        return self.of(inputs, placed)

    def _rows(self, inputs: Mapping[str, Any], samples: Sequence[Sample], rows: list[int]) -> tuple[dict[str, Any], list[Sample]]:
        """The batch with these rows alone, and where the samples are in it."""
        count = inputs["input_ids"].shape[0]
        if len(rows) == count:
            return dict(inputs), list(samples)
        at = torch.tensor(rows)
        part = {
            name: one[at.to(one.device)] if isinstance(one, Tensor) and one.dim() > 0 and one.shape[0] == count else one
            for name, one in inputs.items()
        }
        place = {row: index for index, row in enumerate(rows)}
        moved = [Sample(one.tokens, one.answer, one.labels, place[one.row], one.start, one.origin) for one in samples]
        return part, moved

    def _keep(self, key: int, shown: Shown) -> None:
        kept = Shown(shown.hidden.detach().cpu(), shown.taps)
        if key not in self._kept and self.bytes + kept.bytes <= self.budget:
            self._kept[key] = kept
            self.bytes += kept.bytes


def stacked(shown: Sequence[Shown], device: torch.device) -> Tensor:
    """Final hidden states of several samples, one after the other: [answer tokens, hidden]."""
    return torch.cat([one.hidden.to(device) for one in shown])
