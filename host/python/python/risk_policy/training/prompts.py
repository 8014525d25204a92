"""Prompts beside the batch: the canary, safety anchors, and labelled prompts for calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union

import numpy as np
import torch
from numpy.typing import NDArray

from . import adapters
from .batches import Sample, labels_of, padded, predicting
from .beside import Beside
from .errors import UnsuitableSetup
from .head import answer_loss
from .readout import Reader, Reference, Tap, stacked

#: Words of a user, a conversation, or token ids.
Prompt = Union[str, Sequence[Mapping[str, Any]], Sequence[int]]
#: Prompts that are read together.
_TOGETHER = 16


def encode(tokenizer: Any, prompt: Prompt) -> list[int]:
    """A prompt up to where its answer begins: by the chat template, or as it stands if the tokenizer has none."""
    if not isinstance(prompt, str) and prompt and isinstance(prompt[0], int):
        ids = [int(one) for one in prompt]
    elif getattr(tokenizer, "chat_template", None):
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
    elif isinstance(prompt, str):
        ids = tokenizer(prompt)["input_ids"]
    else:
        raise UnsuitableSetup("a prompt is a conversation, and the tokenizer has no chat template; give text or token ids")
    if not ids:
        raise UnsuitableSetup(f"the prompt {prompt!r} has no tokens")
    return ids


def answered(prompt: Sequence[int], answer: Sequence[int]) -> Sample:
    """A prompt with its answer, as a sample that isn't part of a batch."""
    tokens = torch.tensor([*prompt, *answer], dtype=torch.int64)
    places = torch.arange(len(prompt), len(prompt) + len(answer))
    return Sample(tokens, places, tokens[places])


class Canary:
    """Held-out harmful prompts as a sensor.

    Margin of a prompt = ln P(refusal opening | prompt) - ln P(compliance opening | prompt), summed over the tokens of the
    opening, in nats. Above 0 the model leans towards refusing.
    """

    def __init__(self, prompts: Sequence[Prompt], refusal: str, compliance: str, tokenizer: Any, reader: Reader) -> None:
        openings = [tokenizer(words, add_special_tokens=False)["input_ids"] for words in (refusal, compliance)]
        if not all(openings):
            raise UnsuitableSetup("an opening of the canary has no tokens under this tokenizer; choose other words")
        encoded = [encode(tokenizer, prompt) for prompt in prompts]
        self.samples = [answered(prompt, opening) for prompt in encoded for opening in openings]
        self.reader = reader

    def margins(self) -> list[float]:
        """One per prompt, of the model as it is."""
        sums: list[float] = []
        for first in range(0, len(self.samples), _TOGETHER):
            inputs, placed = padded(self.samples[first : first + _TOGETHER], self.reader.pad)
            shown = self.reader.read(inputs, placed, (), reference=False)
            scores, at = self.reader.log_probs(shown, placed).astype(np.float64), 0
            for one in placed:
                sums.append(float(scores[at : at + one.answer_tokens].sum()))
                at += one.answer_tokens
        return [refusal - compliance for refusal, compliance in zip(sums[::2], sums[1::2])]


@dataclass
class Visit:
    """What a visit of anchors adds to a step, and what it saw."""

    loss: float
    harmful: list[bool]
    #: Of this process's anchors: their places in the visit, and divergences.
    seen: list[tuple[int, float]]


class Anchors:
    """Prompts on which the model is held to the reference (Safety Anchor, arXiv 2605.05995)::

        weight / visited * sum over anchors of  mean over answer tokens of KL(reference || current)
                                          or    |h - h_ref|^2 / width at the last prompt token

    Anchors are no samples: N doesn't count them. They take turns, so the number of visits is all that is kept.
    """

    def __init__(
        self, need: Mapping[str, Any], harmful: Sequence[Prompt], harmless: Sequence[Prompt], tokenizer: Any, reader: Reader,
        visits: int, budget: int,
    ) -> None:
        self.need, self.reader = need, reader
        self.forward_kl = need["divergence"] == "ForwardKl"
        self.kinds = [
            self._kind(prompts, need[name], tokenizer, visits, name)
            for name, prompts in (("harmful", harmful), ("harmless", harmless))
        ]
        self.reference = Reference(reader, (), budget)

    def _kind(self, prompts: Sequence[Prompt], count: int, tokenizer: Any, visits: int, name: str) -> list[Sample]:
        if count == 0:
            return []
        encoded = [encode(tokenizer, one) for one in prompts[: max(visits * count, 1)]]
        # The row that is compared stands before the answer, so any token will do.
        answers = self._answers(encoded, tokenizer) if self.forward_kl else [[one[0]] for one in encoded]
        kept = [answered(prompt, answer) for prompt, answer in zip(encoded, answers) if answer]
        if not kept:
            raise UnsuitableSetup(f"the reference answers none of the {name} anchors; name other prompts")
        return kept

    def _answers(self, prompts: Sequence[Sequence[int]], tokenizer: Any) -> list[list[int]]:
        """The beginning of the reference's own answer to each, greedily and without the token that ends it."""
        model, count = self.reader.model, self.need["answer_tokens"]
        config = model.generation_config.eos_token_id
        stops = {tokenizer.eos_token_id, *(config if isinstance(config, (list, tuple)) else [config])} - {None}
        answers = []
        for prompt in prompts:
            ids = torch.tensor([list(prompt)], device=self.reader.device())
            with adapters.reading(model, reference=True):
                whole = model.generate(
                    input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False, num_beams=1,
                    eos_token_id=sorted(stops) or None, pad_token_id=self.reader.pad, repetition_penalty=1.0,
                )
            answer = whole[0, len(prompt) :].tolist()
            ends = [at for at, token in enumerate(answer) if token in stops]
            answers.append(answer[: ends[0]] if ends else answer)
        return answers

    def turn(self, number: int) -> tuple[list[Sample], list[bool]]:
        """The anchors of the visit with this number, from 0: the next harmful ones, then the next harmless ones."""
        samples: list[Sample] = []
        flags: list[bool] = []
        for kept, name in zip(self.kinds, ("harmful", "harmless")):
            count = self.need[name] if kept else 0
            samples += [kept[(number * count + i) % len(kept)] for i in range(count)]
            flags += [name == "harmful"] * count
        return samples, flags

    def visit(self, number: int, weight: float, beside: Beside, together: int) -> Visit:
        """Loss and gradient of this process's share of a visit."""
        samples, harmful = self.turn(number)
        ranks = beside.ranks
        each = weight / len(samples)
        mine = list(range(len(samples)))[ranks.rank :: ranks.size]
        loss, seen = 0.0, []
        # In lockstep also those that the first process has and this one hasn't.
        share = -(-len(samples) // ranks.size) if ranks.lockstep else len(mine)
        for first in range(0, share, together):
            places = mine[first : first + together]
            part = [samples[place] for place in places]
            known = self.reference.of_alone(part)
            inputs, placed = padded(part, self.reader.pad)
            value, divergence = self._divergence(inputs, placed, known, each)
            beside.add(value)
            loss += float(value.detach())
            # Rounding may leave a KL a hair below 0.
            seen += [(place, max(one, 0.0)) for place, one in zip(places, divergence)]
        beside.close()
        return Visit(loss, harmful, seen)

    def _divergence(self, inputs: Any, placed: Sequence[Sample], known: Any, each: float) -> tuple[torch.Tensor, list[float]]:
        rows, counts = predicting(placed), [one.answer_tokens for one in placed]
        teacher = stacked(known, self.reader.device()) if placed else None
        weights = torch.cat([torch.full((count,), each / count) for count in counts]) if placed else torch.zeros(0)

        def read(hidden: torch.Tensor, head: Any) -> dict[str, torch.Tensor]:
            current = rows.of(hidden)
            if teacher is None:
                return {"loss": current.sum(), "seen": torch.zeros(0)}
            if self.forward_kl:
                value, _, kl = answer_loss(current, head, teacher, labels_of(placed), torch.zeros_like(weights), weights, self.reader.chunk)
                return {"loss": value, "seen": torch.stack([one.mean() for one in kl.split(counts)])}
            squares = (current - teacher.to(current.dtype)).float().square().sum(1) / current.shape[1]
            return {"loss": squares.sum() * each, "seen": squares.detach()}

        found = self.reader.forward(inputs, read)
        return found["loss"], found["seen"].double().tolist()


def examples(
    prompts: Sequence[tuple[Prompt, bool]], taps: Sequence[Tap], tokenizer: Any, reader: Reader
) -> tuple[list[bool], list[str], list[NDArray[np.float32]]]:
    """Labelled prompts as a policy is fitted to them: harmful or not, the part each belongs to, and per tap what the
    reference shows, [prompts, layers, hidden]. Of either kind three fifths are to fit on, one to choose on, one to report on."""
    counts = {True: 0, False: 0}
    parts, samples = [], []
    for prompt, harmful in prompts:
        parts.append(("Training", "Training", "Training", "Validation", "Test")[counts[bool(harmful)] % 5])
        counts[bool(harmful)] += 1
        ids = encode(tokenizer, prompt)
        # A token behind the prompt, so that all of it is read as one.
        samples.append(answered(ids, [ids[0]]))
    shown = []
    for first in range(0, len(samples), _TOGETHER):
        inputs, placed = padded(samples[first : first + _TOGETHER], reader.pad)
        shown += reader.read(inputs, placed, taps, reference=True)
    values = [np.ascontiguousarray(np.stack([one.taps[tap] for one in shown])) for tap in taps]
    return [bool(harmful) for _, harmful in prompts], parts, values
