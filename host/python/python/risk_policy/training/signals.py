"""What a step's samples show, measured by each process on its share and brought together for the policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import adapters
from .batches import Sample
from .policies import canary_due
from .prompts import Canary
from .ranks import Ranks
from .readout import Reader, Reference, Tap, tap_of


@dataclass(frozen=True)
class Reads:
    """What policies read of the two models before they speak."""

    reference: list[Tap]
    current: list[Tap]
    reference_log_probs: bool
    current_log_probs: bool

    @classmethod
    def of(cls, needs: Sequence[Mapping[str, Any]]) -> Reads:
        """What any of them asks for, each once."""
        taps = list(dict.fromkeys(tap_of(tap) for one in needs for tap in one["taps"]))
        return cls(
            [tap for tap in taps if tap[0] == "Reference"],
            [tap for tap in taps if tap[0] == "Current"],
            any("reference" in one["tokens"] for one in needs),
            any("current" in one["tokens"] or one.get("sample_loss") for one in needs),
        )


@dataclass
class OfSample:
    """What is known of one sample of a step."""

    about: dict[str, Any]
    taps: dict[Tap, NDArray[np.float32]]
    current: NDArray[np.float32]
    reference: NDArray[np.float32]


class Everyone:
    """A step's samples, of all processes: micro-batch by micro-batch and there rank by rank, which is the order of the
    same step on one process; alignment samples beyond the batch come last."""

    def __init__(self, parts: Sequence[tuple[list[list[OfSample]], list[OfSample] | None]]) -> None:
        """``parts``: of each rank, its micro-batches, and its samples beyond them."""
        self.samples: list[OfSample] = []
        self.offsets = [0]
        self._places: list[list[slice]] = [[] for _ in parts]
        for index in range(max(len(micros) for micros, _ in parts)):
            for rank, (micros, _) in enumerate(parts):
                self._take(rank, micros[index] if index < len(micros) else [])
        self.extra_tokens = 0
        for rank, (_, extra) in enumerate(parts):
            before = self.offsets[-1]
            self._take(rank, extra or [])
            self.extra_tokens += self.offsets[-1] - before
        self.current = self._join([one.current for one in self.samples])
        self.reference = self._join([one.reference for one in self.samples])

    def _take(self, rank: int, samples: Sequence[OfSample]) -> None:
        begin = self.offsets[-1]
        for one in samples:
            self.samples.append(one)
            self.offsets.append(self.offsets[-1] + one.about["answer_tokens"])
        self._places[rank].append(slice(begin, self.offsets[-1]))

    @staticmethod
    def _join(parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)

    def places(self, rank: int) -> list[slice]:
        """Of a process's micro-batches, then of its samples beyond them: their answer tokens among those of the step."""
        return self._places[rank]


class Sensors:
    """Measures what the policies ask for."""

    def __init__(self, needs: Sequence[Mapping[str, Any]], reader: Reader, reference: Reference, canary: Canary | None) -> None:
        self.needs, self.reader, self.reference, self.canary = list(needs), reader, reference, canary
        self.reads = Reads.of(needs)

    def read(self, micros: Sequence[Any], extra: Any, ranks: Ranks) -> Everyone:
        """What all processes' samples show."""
        mine = [self._shown(micro.inputs, micro.samples) for micro in micros]
        beyond = self._shown(extra.inputs, extra.samples) if extra is not None else None
        return Everyone(ranks.all((mine, beyond)))

    def _shown(self, inputs: Mapping[str, Any], samples: Sequence[Sample]) -> list[OfSample]:
        reads, none = self.reads, np.zeros(0, dtype=np.float32)
        taps: list[dict[Tap, NDArray[np.float32]]] = [{} for _ in samples]
        current, reference = [none] * len(samples), [none] * len(samples)
        if not samples and not self.reader.ranks.lockstep:
            return []
        if reads.reference or reads.reference_log_probs:
            shown = self.reference.of(inputs, samples)
            for to, one in zip(taps, shown):
                to.update(one.taps)
            if reads.reference_log_probs:
                reference = self._by_sample(self.reader.log_probs(shown, samples), samples)
        if reads.current or reads.current_log_probs:
            shown = self.reader.read(inputs, samples, reads.current, reference=False)
            for to, one in zip(taps, shown):
                to.update(one.taps)
            if reads.current_log_probs:
                current = self._by_sample(self.reader.log_probs(shown, samples), samples)
        return [OfSample(_about(one), taps[i], current[i], reference[i]) for i, one in enumerate(samples)]

    @staticmethod
    def _by_sample(values: NDArray[np.float32], samples: Sequence[Sample]) -> list[NDArray[np.float32]]:
        return np.split(values, np.cumsum([one.answer_tokens for one in samples])[:-1])

    def measure(
        self, everyone: Everyone, step: int, learning_rate: float, previous: Any, seen: Any, ranks: Ranks
    ) -> dict[str, Any]:
        """Everything that any policy asked for, by the names of the contract; of use on rank 0."""
        measured: dict[str, Any] = {
            "step": step, "learning_rate": learning_rate, "previous": previous, "anchors": seen,
            "samples": [one.about for one in everyone.samples], "offsets": np.asarray(everyone.offsets, dtype=np.uint32),
            "tokens": {"current": everyone.current, "reference": everyone.reference}, "activations": {},
        }
        for tap in [*self.reads.reference, *self.reads.current]:
            measured["activations"][tap] = np.ascontiguousarray(np.stack([one.taps[tap] for one in everyone.samples]))
        if any(one.get("sample_loss") for one in self.needs):
            measured["sample_loss"] = [-float(one.current.astype(np.float64).mean()) for one in everyone.samples]
        # One process measures these, unless it takes all to run the model.
        if ranks.is_root or ranks.lockstep:
            if self.canary is not None and any(canary_due(one, step) for one in self.needs):
                measured["canary"] = {"step": step, "margins": self.canary.margins()}
            if any(one["drift"] for one in self.needs):
                measured["drift"] = adapters.drift(self.reader.model)
        return measured


def _about(sample: Sample) -> dict[str, Any]:
    return {
        "id": sample.id, "origin": sample.origin.capitalize(),
        "prompt_tokens": sample.prompt_tokens, "answer_tokens": sample.answer_tokens,
    }
