"""One optimizer step under policies, in the order of the host::

    batches -> forward: signals -> policies: assess -> journal -> objective -> backward -> holds -> optimizer -> metrics

There is one assessment per step, over all its samples, whatever the number of micro-batches and processes; a step whose KL
weights are all 0 does no work for the reference.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from . import adapters, objective, shards
from .actuators import Update
from .alignment import AlignmentRows
from .batches import Sample, labels_of, padded, predicting, samples_of
from .beside import Beside
from .errors import NotFinite, UnmetNeed, UnsuitableSetup
from .head import Head, answer_loss
from .policies import Policies
from .prompts import Anchors
from .ranks import Ranks
from .readout import Reader, Reference, stacked
from .records import Records
from .signals import Sensors

#: Steps in a row with a loss or gradient that is not finite, after which a run ends.
_NOT_FINITE_LIMIT = 3


#: As metrics.jsonl calls what a step can come to besides an update.
ACTIONS = {"Skip": "skip", "RollBack": "roll-back", "Stop": "stop"}


def _mean(values: Sequence[float]) -> float:
    """In the order in which an audit adds them up, so that it finds the same bits."""
    total = 0.0
    for value in values:
        total += float(value)
    return total / max(len(values), 1)


@dataclass
class Micro:
    """A part of a step that goes through the model at once."""

    inputs: Mapping[str, Any]
    samples: list[Sample]
    #: Its answer tokens among those of the step; known once the step was measured.
    tokens: slice = field(default_factory=lambda: slice(0, 0))


@dataclass
class Sums:
    """What the micro-batches of a step add up to on one process."""

    loss: float = 0.0
    entropy: float = 0.0
    tokens: int = 0
    kl: float = 0.0
    kl_tokens: int = 0

    def add(self, loss: Tensor, entropy: Tensor, kl: Tensor) -> None:
        """Of one micro-batch: its weighted loss, and cross-entropy and KL of its answer tokens."""
        self.loss += float(loss.detach())
        self.entropy += float(entropy.double().sum())
        self.tokens += entropy.numel()
        self.kl += float(kl.double().sum())
        self.kl_tokens += kl.numel()


@dataclass
class Step:
    """A step on its way."""

    number: int
    micros: list[Micro]
    #: Alignment samples beyond the batch; those of this process, if there are any.
    extra: Micro | None
    asked: Mapping[str, Any]
    weights: objective.TokenWeights
    #: Answer tokens of alignment samples beyond the batch, over all processes.
    extra_tokens: int
    line: dict[str, Any]
    started: float
    sums: Sums = field(default_factory=Sums)
    gradient_norm: float = 0.0
    learning_rate: float = 0.0
    not_applied: str | None = None
    #: Whether the optimizer made its step.
    updated: bool = False

    @property
    def applies(self) -> bool:
        return self.asked["action"] == "Update"


class Steps:
    """What goes on from step to step. One for each process; policies and records are on rank 0."""

    def __init__(
        self, model: nn.Module, reader: Reader, reference: Reference, sensors: Sensors, ranks: Ranks,
        policies: Policies | None, records: Records | None, declared: set[str], anchors: Anchors | None,
        alignment: AlignmentRows | None,
    ) -> None:
        self.model, self.reader, self.reference, self.sensors, self.ranks = model, reader, reference, sensors, ranks
        self.policies, self.records, self.anchors, self.alignment = policies, records, anchors, alignment
        shards.lay_down(model)
        self.parameters = adapters.trained(model)
        self.update = Update(self.parameters, declared)
        self.several = 1
        self.step: Step | None = None
        self.previous: dict[str, Any] | None = None
        self.seen: dict[str, Any] | None = None
        self.visits = 0
        self.unlearned = 0
        self.not_finite = 0
        self.lines = 0

    # ------------------------------------------------------------------ before the loss

    def begin(self, number: int, batches: Sequence[Mapping[str, Any]], learning_rate: float) -> Step:
        """Measures the samples of a step and asks the policies about it."""
        started = time.perf_counter()
        micros = []
        for batch in batches:
            samples, empty = samples_of(batch)
            self.unlearned += empty
            micros.append(Micro(batch, samples))
        extra = self._extra()
        everyone = self.sensors.read(micros, extra, self.ranks)
        places = everyone.places(self.ranks.rank)
        for micro, at in zip([*micros, *([extra] if extra else [])], places):
            micro.tokens = at
        if everyone.offsets[-1] == 0:
            raise UnsuitableSetup(
                f"no row of step {number} has a token to learn: all labels are -100, but for first tokens, which nothing predicts; "
                "look at the truncation and the loss mask of the data"
            )
        measured = self.sensors.measure(everyone, number, learning_rate, self.previous, self.seen, self.ranks)
        asked = self.ranks.from_root(lambda: self.policies.ask(measured, self.records))
        if (asked.get("alignment_share") or 0.0) > 0.0:
            remedy = "let it add samples to the batch instead, or train with `host train`, which has it"
            raise UnmetNeed("a share of alignment samples within the batch", remedy)
        weights = self._weights(asked, everyone)
        self.step = Step(number, micros, extra, asked, weights, everyone.extra_tokens, self._line(number, everyone, asked), started)
        self.step.line["policy_milliseconds"] = (time.perf_counter() - started) * 1e3
        return self.step

    def _extra(self) -> Micro | None:
        """This process's alignment samples beyond the batch."""
        if self.alignment is None:
            return None
        count = self.alignment.count
        samples = self.alignment.next(self.ranks.rank, self.ranks.size)
        if not samples and not (self.ranks.lockstep and count):
            return None
        inputs, placed = padded(samples, self.reader.pad)
        return Micro(inputs, placed)

    def _weights(self, asked: Mapping[str, Any], everyone: Any) -> objective.TokenWeights:
        weights = objective.token_weights(asked, everyone.offsets)
        if asked.get("ratio_clip") is not None:
            objective.clip_ratios(weights, asked["ratio_clip"], everyone.offsets, everyone.current, everyone.reference)
        if objective.wants_label_divergence(asked):
            objective.label_divergence(weights, everyone.current, everyone.reference)
        return weights

    def _line(self, number: int, everyone: Any, asked: Mapping[str, Any]) -> dict[str, Any]:
        action, risk = asked["action"], asked["risk"].tolist()
        return {
            "step": number, "risk": _mean(risk), "max_risk": max(0.0, *risk),
            "task_weight": _mean(asked["task_weight"]), "kl_weight": _mean(asked["kl_weight"]),
            "samples": len(everyone.samples), "answer_tokens": everyone.offsets[-1],
            "action": None if action == "Update" else ACTIONS[action],
        }

    # ------------------------------------------------------------------ loss and gradient

    def loss(self, model: nn.Module, inputs: Mapping[str, Any], index: int) -> Tensor:
        """The share of micro-batch ``index`` in the step's loss, times the processes, over which gradients are averaged."""
        assert self.step is not None
        micro = self.step.micros[index]
        return self._share(model, inputs, micro) * float(self.ranks.size)

    def _share(self, model: nn.Module, inputs: Mapping[str, Any], micro: Micro) -> Tensor:
        step = self.step
        assert step is not None
        task = torch.from_numpy(step.weights.task[micro.tokens].astype(np.float32))
        kl = torch.from_numpy(step.weights.kl[micro.tokens].astype(np.float32))
        device = self.reader.device()
        teacher = None
        if self.ranks.due(bool((kl != 0).any())):
            known = self.reference.of(inputs, micro.samples)
            teacher = stacked(known, device) if known else None
        rows, labels = predicting(micro.samples), labels_of(micro.samples)

        def read(hidden: Tensor, head: Head) -> dict[str, Tensor]:
            loss, entropy, divergence = answer_loss(rows.of(hidden), head, teacher, labels, task, kl, self.reader.chunk)
            # Here, since a wrapper of the model may round what it returns.
            step.sums.add(loss, entropy, divergence)
            return {"loss": loss}

        inputs = {name: one.to(device) if isinstance(one, Tensor) else one for name, one in inputs.items() if name != "labels"}
        return model(**inputs, risk_policy_reader=read)["loss"]

    def finish(self) -> float:
        """After the last backward pass: what holds the model beside the batch, and whether the step can be applied.

        Returns what the loss is beyond the micro-batches."""
        step = self.step
        assert step is not None
        added = step.weights.constant
        parameters = [one for _, one in self.parameters]
        of_batch = step.sums.loss
        if step.extra_tokens:
            self._add_extra(step, parameters)
        weight = step.asked.get("anchor_weight") or 0.0
        if self.anchors is not None and weight > 0.0:
            added += self._visit(step, weight, parameters)
        added += self.update.pull(self.model, step.asked.get("anchor"))
        sums = step.sums
        values = [of_batch, sums.loss, sums.entropy, sums.tokens, sums.kl, sums.kl_tokens]
        of_batch, loss, entropy, tokens, kl, kl_tokens = self.ranks.sums(values)
        step.line["loss"] = loss + added
        step.line["task_loss"] = entropy / max(tokens, 1)
        step.line["kl"] = kl / kl_tokens if kl_tokens else None
        self._check(step, parameters)
        return step.line["loss"] - of_batch

    def _add_extra(self, step: Step, parameters: list[nn.Parameter]) -> None:
        beside = Beside(parameters, self.ranks)
        if step.extra is not None:
            beside.add(self._share(self.model, step.extra.inputs, step.extra))
        beside.close()

    def _visit(self, step: Step, weight: float, parameters: list[nn.Parameter]) -> float:
        visit = self.anchors.visit(self.visits, weight, Beside(parameters, self.ranks), self.several)
        (loss,) = self.ranks.sums([visit.loss])
        seen = dict(pair for part in self.ranks.all(visit.seen) for pair in part)
        divergence = [seen[place] for place in range(len(visit.harmful))]
        self.seen = {"step": step.number, "harmful": visit.harmful, "divergence": divergence}
        self.visits += 1
        for kind, name in ((True, "anchor_harmful"), (False, "anchor_harmless")):
            of_kind = [one for one, harmful in zip(divergence, visit.harmful) if harmful == kind]
            step.line[name] = float(np.mean(of_kind)) if of_kind else None
        return loss

    def _check(self, step: Step, parameters: list[nn.Parameter]) -> None:
        """A step with a number that is not finite isn't applied; at step 0 the loss must reach all of the adapter."""
        if not np.isfinite(step.line["loss"]):
            step.not_applied = f"the loss is {step.line['loss']}"
        names = [name for name, one in self.parameters if one.grad is not None and not bool(shards.mine(one.grad).isfinite().all())]
        found = [name for part in self.ranks.all(names[:1]) for name in part]
        if found and step.not_applied is None:
            step.not_applied = f"the gradient of {found[0]} is not finite"
        if step.not_applied is None:
            self.not_finite = 0
            learns = bool((step.weights.task != 0).any())
            dead = self._dead() if step.number == 0 and learns else []
            if dead:
                raise UnsuitableSetup(f"the loss doesn't reach {dead[0]}: its gradient is zero everywhere at step 0")
            return
        self.not_finite += 1
        for one in parameters:
            one.grad = None
        if self.not_finite >= _NOT_FINITE_LIMIT:
            raise NotFinite(
                f"{step.not_applied} at step {step.number}, and {self.not_finite} steps in a row could not be applied; "
                "lower the learning rate, or look at the rows of these steps"
            )

    def _dead(self) -> list[str]:
        """Second matrices whose gradient is zero everywhere, on all processes."""
        here = [name for name, one in self.parameters if one.grad is None or not bool((shards.mine(one.grad) != 0).any())]
        everywhere = set(here).intersection(*self.ranks.all(here))
        return [name for name in here if name in everywhere and "lora_B" in name]

    # ------------------------------------------------------------------ after it

    def close(self) -> dict[str, Any]:
        """Notes what became of the step. Returns its line of metrics.jsonl."""
        step, self.step = self.step, None
        assert step is not None
        line = step.line
        applied = step.applies and step.not_applied is None
        line.setdefault("loss", 0.0)
        line.setdefault("task_loss", 0.0)
        line["gradient_norm"] = step.gradient_norm if applied else 0.0
        line["learning_rate"] = step.learning_rate if applied else 0.0
        line["not_applied"] = step.not_applied
        line["seconds"] = time.perf_counter() - step.started
        # As of a step that was skipped: what was not finite has no place in signals.
        kept = step.not_applied is None
        self.previous = {
            "step": step.number, "action": step.asked["action"] if kept else "Skip",
            "task_loss": line["task_loss"] if kept else 0.0, "kl": line.get("kl") if kept else None,
            "gradient_norm": line["gradient_norm"], "learning_rate": line["learning_rate"],
        }
        if self.alignment is not None:
            self.alignment.ask(step.asked.get("alignment_extra"))
        self.lines += 1
        if self.records is not None:
            self.records.step(line)
        return line

    def left(self) -> dict[str, Any] | None:
        """What became of the last step on record, of a run that is left: one that was cut off in the middle did nothing."""
        recorded, before = self.policies.recorded, self.previous
        if recorded is None or (before is not None and before["step"] >= recorded):
            return before
        updated = self.step is not None and self.step.updated
        nothing = {"task_loss": 0.0, "kl": None, "gradient_norm": 0.0, "learning_rate": 0.0}
        return {"step": recorded, "action": "Update" if updated else "Skip", **nothing}

    def saved(self) -> dict[str, Any]:
        """What goes into a checkpoint, beside what the policies carry."""
        return {
            "previous": self.previous, "seen": self.seen, "visits": self.visits, "lines": self.lines,
            "not_finite": self.not_finite, "alignment": self.alignment.saved() if self.alignment else None,
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """The way back."""
        self.previous, self.seen, self.visits = saved["previous"], saved["seen"], saved["visits"]
        self.lines, self.not_finite = saved["lines"], saved["not_finite"]
        if self.alignment is not None and saved["alignment"] is not None:
            self.alignment.restore(saved["alignment"])
