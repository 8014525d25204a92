"""From batches of a trainer to the samples that policies see.

A sample is one conversation of the training data, wherever it lies in a batch: a row of a padded batch, or a stretch of a
row in which several were laid one after the other (``padding_free``, ``packing``), told apart by position ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from .errors import UnsuitableSetup

#: Label of a token that isn't learned, as transformers has it.
IGNORED = -100


@dataclass(frozen=True)
class Sample:
    """One tokenised conversation. Tensors are on the CPU.

    The label of answer token ``p`` is predicted by row ``p - 1``. A label on the first token is predicted by nothing and
    doesn't count.
    """

    #: [tokens], int64.
    tokens: Tensor
    #: Positions of the answer tokens, ascending, each at least 1: [answer tokens], int64.
    answer: Tensor
    #: What is to be predicted there: [answer tokens], int64.
    labels: Tensor
    #: Where it lies in its batch: row, and first position in it.
    row: int = 0
    start: int = 0
    #: ``task``, or ``alignment`` for data that shows how the model should stay.
    origin: str = "task"

    @property
    def answer_tokens(self) -> int:
        return self.answer.numel()

    @property
    def prompt_tokens(self) -> int:
        """Tokens before the first answer, at least 1."""
        return int(self.answer[0]) if self.answer.numel() else self.tokens.numel()

    @cached_property
    def id(self) -> int:
        """A hash of the content, below 2^63: the same row has the same id in every epoch."""
        digest = hashlib.sha256(self.origin.encode())
        for part in (self.tokens, self.answer, self.labels):
            digest.update(part.numel().to_bytes(8, "little"))
            digest.update(part.to(torch.int64).numpy().tobytes())
        return int.from_bytes(digest.digest()[:8], "little") >> 1


def _stretches(batch: Mapping[str, Any], row: int, length: int) -> Iterable[tuple[int, int]]:
    """Begin and end of every sequence in a row."""
    first, last = 0, length
    mask = batch.get("attention_mask")
    if mask is not None:
        if mask.dim() != 2:
            raise UnsuitableSetup(
                f"attention_mask has {mask.dim()} dimensions; a policy needs one of 2, [rows, tokens], to tell tokens from padding"
            )
        here = mask[row].nonzero().flatten()
        if here.numel() == 0:
            return
        first, last = int(here[0]), int(here[-1]) + 1
        if last - first != here.numel():
            raise UnsuitableSetup(
                f"attention_mask of row {row} has a hole; pad at one end, and lay out several samples in a row by position_ids"
            )
    positions = batch.get("position_ids")
    if positions is None:
        yield first, last
        return
    if positions.dim() != 2:
        raise UnsuitableSetup(f"position_ids has {positions.dim()} dimensions; a policy needs [rows, tokens]")
    starts = ((positions[row, first:last] == 0).nonzero().flatten() + first).tolist()
    if not starts or starts[0] != first:
        starts.insert(0, first)
    yield from zip(starts, [*starts[1:], last])


def samples_of(batch: Mapping[str, Any], origin: str = "task") -> tuple[list[Sample], int]:
    """The samples of a batch, in its order, and how many sequences had nothing to learn and are none."""
    if "shift_labels" in batch:
        raise UnsuitableSetup("shift_labels come of context parallelism, under which no process sees whole samples; switch it off")
    for name in ("input_ids", "labels"):
        if not isinstance(batch.get(name), Tensor) or batch[name].dim() != 2:
            raise UnsuitableSetup(f"a batch has no {name} of shape [rows, tokens]; use a collator for causal language models")
    ids, labels = batch["input_ids"].detach().cpu(), batch["labels"].detach().cpu()
    if ids.shape != labels.shape:
        raise UnsuitableSetup(f"labels have the shape {tuple(labels.shape)}, and input_ids {tuple(ids.shape)}")
    layout = {name: batch[name].detach().cpu() for name in ("attention_mask", "position_ids") if batch.get(name) is not None}
    samples, empty = [], 0
    for row in range(ids.shape[0]):
        for begin, end in _stretches(layout, row, ids.shape[1]):
            part = labels[row, begin:end]
            answer = (part[1:] != IGNORED).nonzero().flatten() + 1
            if answer.numel():
                samples.append(Sample(ids[row, begin:end].clone(), answer, part[answer], row, begin, origin))
            elif end - begin > 1:
                empty += 1
    return samples, empty


def padded(samples: Sequence[Sample], pad: int) -> tuple[dict[str, Tensor], list[Sample]]:
    """One batch of samples, padded at the end, and the samples with their places in it. Of no samples it is one token, for
    a process that goes along with others."""
    if not samples:
        return {"input_ids": torch.full((1, 1), pad), "attention_mask": torch.ones((1, 1), dtype=torch.int64)}, []
    length = max(sample.tokens.numel() for sample in samples)
    ids = torch.full((len(samples), length), pad, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    placed = []
    for row, sample in enumerate(samples):
        count = sample.tokens.numel()
        ids[row, :count], mask[row, :count] = sample.tokens, 1
        placed.append(Sample(sample.tokens, sample.answer, sample.labels, row, 0, sample.origin))
    return {"input_ids": ids, "attention_mask": mask}, placed


@dataclass(frozen=True)
class Rows:
    """Places in a batch: hidden[row, position] of a tensor [rows, tokens, hidden]."""

    row: Tensor
    position: Tensor

    def of(self, hidden: Tensor) -> Tensor:
        """[places, hidden]."""
        return hidden[self.row.to(hidden.device), self.position.to(hidden.device)]


def predicting(samples: Sequence[Sample]) -> Rows:
    """The rows that predict answer tokens, in the order of the samples."""
    if not samples:
        return Rows(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    return Rows(
        torch.cat([torch.full_like(one.answer, one.row) for one in samples]),
        torch.cat([one.answer - 1 + one.start for one in samples]),
    )


def labels_of(samples: Sequence[Sample]) -> Tensor:
    """Their answer tokens: [answer tokens], int64."""
    return torch.cat([one.labels for one in samples]) if samples else torch.zeros(0, dtype=torch.int64)


def offsets_of(samples: Sequence[Sample]) -> list[int]:
    """The first answer token of each sample, and the total."""
    offsets = [0]
    for sample in samples:
        offsets.append(offsets[-1] + sample.answer_tokens)
    return offsets
