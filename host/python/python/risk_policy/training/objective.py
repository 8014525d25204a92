"""From what policies ask to the weight of every answer token.

Loss of an optimizer step with N answer tokens (arXiv 2602.17546, with weights per sample and, optionally, per token)::

    1/N * sum_i sum_t  task[i] * u[t] * CE[t]  +  kl[i] * w[t] * KL(reference || current)[t]

N counts the tokens of the whole step, over all micro-batches and processes, so splitting a step changes nothing but the
order of a sum. Two other losses have the gradient of a weighted cross-entropy, and are one here:

* ``label-k2``, (ln P_current - ln P_reference)^2 / 2 of the label token, has the gradient d * d ln P_current with
  d = ln P_current - ln P_reference, so cross-entropy is weighted by -w d;
* the ratio clip (PRPO, arXiv 2409.09881), -f with x = P_current / P_reference and f = min(x, high) * direction for
  direction >= 0, else max(x, low) * direction, has the gradient of cross-entropy weighted by direction * x inside the
  clip, and ``beyond`` times that outside.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: ln of the largest ratio: what a gradient is clipped from, not what overflows.
_LARGEST = 60.0


@dataclass
class TokenWeights:
    """Per answer token of a step, in sample order, already divided by N: [answer tokens], f64."""

    task: NDArray[np.float64]
    kl: NDArray[np.float64]
    #: What the objective is beyond the weighted losses, where these stand in for another loss.
    constant: float = 0.0

    @property
    def needs_reference(self) -> bool:
        return bool((self.kl != 0.0).any())


def _spread(per_sample: Any, per_token: Any, offsets: Sequence[int]) -> NDArray[np.float64]:
    total = offsets[-1]
    counts = np.diff(np.asarray(offsets))
    weights = np.repeat(np.asarray(per_sample, dtype=np.float64), counts)
    if per_token is not None:
        weights = weights * np.asarray(per_token, dtype=np.float64)
    return weights / max(total, 1)


def token_weights(asked: Mapping[str, Any], offsets: Sequence[int]) -> TokenWeights:
    """``offsets`` holds the first answer token of each sample of the step, and the total."""
    return TokenWeights(
        _spread(asked["task_weight"], asked.get("token_task_weight"), offsets),
        _spread(asked["kl_weight"], asked.get("token_kl_weight"), offsets),
    )


def plain(samples: int) -> dict[str, Any]:
    """What is asked for where there is no policy: cross-entropy alone."""
    return {"action": "Update", "task_weight": [1.0] * samples, "kl_weight": [0.0] * samples, "divergence": "ForwardKl"}


def wants_label_divergence(asked: Mapping[str, Any]) -> bool:
    """Whether the divergence is k2, of a KL weight that isn't 0."""
    return asked.get("divergence") == "LabelK2" and bool(np.any(np.asarray(asked["kl_weight"]) != 0.0))


def needs_log_probs(asked: Mapping[str, Any]) -> bool:
    """Whether the loss is made of the log-probabilities that both models give the answers."""
    return wants_label_divergence(asked) or asked.get("ratio_clip") is not None


def label_divergence(weights: TokenWeights, current: NDArray[Any], reference: NDArray[Any]) -> None:
    """Rewrites the KL weights on k2 as weights of the cross-entropy. Log-probabilities are [answer tokens]."""
    current = np.asarray(current, dtype=np.float64)
    distance = current - np.asarray(reference, dtype=np.float64)
    weights.task = weights.task - weights.kl * distance
    # w d^2 / 2, and back what -w d times the cross-entropy will say.
    weights.constant += float((weights.kl * distance * (distance / 2.0 - current)).sum())
    weights.kl = np.zeros_like(weights.kl)


def _ratios(
    clips: Sequence[Mapping[str, Any]], offsets: Sequence[int], current: NDArray[Any], reference: NDArray[Any]
) -> Iterator[tuple[Mapping[str, Any], slice, float]]:
    """Each ratio with its clip and the answer tokens that it is of: one per token, or one per answer."""
    for clip, begin, end in zip(clips, offsets, offsets[1:]):
        parts = [slice(begin, end)] if clip["sequence"] else [slice(t, t + 1) for t in range(begin, end)]
        for part in parts:
            yield clip, part, math.exp(min(float((current[part] - reference[part]).sum()), _LARGEST))


def _clipped(clip: Mapping[str, Any], ratio: float) -> tuple[float, float]:
    """f, and its derivative by ln x."""
    direction = clip["direction"]
    if direction >= 0.0:
        bounded, inside = min(ratio, clip["high"]), ratio < clip["high"]
    else:
        bounded, inside = max(ratio, clip["low"]), ratio > clip["low"]
    return bounded * direction, (1.0 if inside else clip.get("beyond", 0.0)) * direction * ratio


def clip_ratios(
    weights: TokenWeights,
    clips: Sequence[Mapping[str, Any]],
    offsets: Sequence[int],
    current: NDArray[Any],
    reference: NDArray[Any],
) -> None:
    """Puts -f in the place of the task losses, and adds the variance penalty sqrt(1/n * mean (v x)^2) of all ratios.

    Weights and log-probabilities are those of a whole step. An answer's ratio counts once, with the mean weight of its
    tokens.
    """
    current, reference = (np.asarray(one, dtype=np.float64) for one in (current, reference))
    ratios = list(_ratios(clips, offsets, current, reference))
    squares = sum((clip["variance_penalty"] * ratio) ** 2 for clip, _, ratio in ratios)
    root, count = math.sqrt(squares), max(len(ratios), 1)
    weights.constant += root / count
    for clip, part, ratio in ratios:
        value, slope = _clipped(clip, ratio)
        square = (clip["variance_penalty"] * ratio) ** 2
        pull = 0.0 if square == 0.0 else square / (count * root)
        before = weights.task[part].copy()
        weights.task[part] = before * slope - pull
        # What the weighted cross-entropy will say has no place in the value.
        weights.constant += float((weights.task[part] * current[part]).sum()) - float(before.mean()) * value
