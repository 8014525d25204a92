"""Records of the contract as dicts; types for checkers alone, so import them under `TYPE_CHECKING`.

Names and values are those of journals, recorded cases and `--json`.
"""

from collections.abc import Sequence
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import NDArray
from typing_extensions import NotRequired, TypeAlias

_Floats: TypeAlias = NDArray[np.float64] | Sequence[float]

# ----------------------------------------------------------------------------- records: the needs

class Tap(TypedDict):
    """A place where activations are read."""

    source: Literal["Reference", "Current"]
    """`"Reference"`: with the adapter off."""
    position: Literal["LastPromptToken", "PromptMean", "AnswerMean"]
    layers: list[int]
    """Ascending. 0 is the embeddings, L what decoder block L leaves behind."""

class JudgeNeed(TypedDict):
    judge: str
    prefix_words: int | None
    """Also score every answer cut after each this many words."""

class AnchorNeed(TypedDict):
    harmful: int
    harmless: int
    answer_tokens: int
    divergence: Literal["ForwardKl", "HiddenDistance"]

class TokenSet(TypedDict):
    count: int
    temperature: float

class SteeringNeed(TypedDict):
    vector: Literal["SafetyInstruction", "RefusalDirection", "Configured"]
    layers: list[int]

class Needs(TypedDict):
    """What must be measured for a policy, and what it may steer. A key that isn't there asks for
    nothing."""

    taps: list[Tap]
    judges: list[JudgeNeed]
    tokens: list[Literal["current", "reference"]]
    """Log-probabilities of the answer tokens, under which model."""
    canary_every: int | None
    """The canary margin before every this many steps."""
    trial_scales: list[float]
    """Canary margins after trying the update at each of these learning-rate scales."""
    gradient_conflict: bool
    drift: bool
    sample_loss: NotRequired[bool]
    gradient_agreement: NotRequired[bool]
    anchors: NotRequired[AnchorNeed]
    token_set: NotRequired[TokenSet]
    steering: SteeringNeed | None
    calibration: bool
    """`assess` can't work without the parameters that `calibrate` returns."""
    calibration_rows: NotRequired[int]
    """Task samples of the run that calibration sees without labels."""
    actuators: list[str]
    """Parts of the regularization that the policy may use, such as `"token-weights"`."""

# ---------------------------------------------------------------------------- records: the signals

class Sample(TypedDict):
    id: int
    """Identifies the row within the run."""
    origin: Literal["Task", "Alignment"]
    prompt_tokens: int
    answer_tokens: int
    """Tokens that the loss is over."""

class TokenSignals(TypedDict):
    """Log-probabilities of the answer tokens in nats; ragged, `offsets` cut them into samples."""

    offsets: NDArray[np.uint32] | Sequence[int]
    """One more than there are samples, from 0; sample i has `offsets[i]:offsets[i + 1]`."""
    current: NotRequired[NDArray[np.float32]]
    """Under the model in training; float32, one per answer token; only if asked for."""
    reference: NotRequired[NDArray[np.float32]]
    """Under the reference, likewise."""

class Judgement(TypedDict):
    status: Literal["Scored", "Missing", "Failed", "Unparsable"]
    score: float
    """From 1 (harmless) to 5 (harmful); 5 unless the status is `"Scored"`."""

class JudgeScores(TypedDict):
    judge: str
    judgements: Sequence[Judgement]
    """Per sample."""

class PrefixScores(TypedDict):
    judge: str
    offsets: Sequence[int]
    ends: Sequence[int]
    """Answer tokens in the prefix that was judged."""
    judgements: Sequence[Judgement]

class Canary(TypedDict):
    step: int
    margins: _Floats
    """Per prompt, ln P(refusal opening) - ln P(compliance opening), in nats."""

class Trial(TypedDict):
    scale: float
    margins: _Floats

class GradientConflict(TypedDict):
    """Of the step before."""

    task_norm: float
    alignment_norm: float
    dot: float

class AnchorSignals(TypedDict):
    step: int
    harmful: Sequence[bool]
    divergence: _Floats
    """Per anchor, at least 0."""

class SteeringSignals(TypedDict):
    coefficient: float
    cosines: _Floats
    margins_without: _Floats
    margins_with: _Floats

Action: TypeAlias = Literal["Update", "Skip", "RollBack", "Stop"]
"""What happens to the update; from the weakest to the strongest."""

class Outcome(TypedDict):
    """What became of a step."""

    step: int
    action: Action
    task_loss: float
    """Mean cross-entropy per answer token, unweighted, in nats."""
    kl: float | None
    """Mean KL(reference || current) per answer token, in nats; None if not computed."""
    gradient_norm: float
    """L2 norm of the adapter's gradient before clipping."""
    learning_rate: float
    """That of the update, after scaling."""

# -------------------------------------------------------------------------- records: the assessment

class Ema(TypedDict):
    decay: float
    in_path: bool

class Anchor(TypedDict):
    target: Literal["Reference", "LastSwitch"]
    strength: float

class RatioClip(TypedDict):
    low: float
    high: float
    direction: float
    sequence: bool
    variance_penalty: float
    beyond: NotRequired[float]

class Steering(TypedDict):
    coefficient: float
    project: bool
    reference: bool

class Regularization(TypedDict):
    """How to train on one step. The loss is 1/N * sum over answer tokens of
    a * cross-entropy + b * divergence, with a = `task_weight` of the sample * `token_task_weight`
    of the token, b likewise, and N the number of answer tokens of the step. A key that isn't there
    is not used."""

    action: Action
    task_weight: NDArray[np.float64]
    """(samples,), in [0, 10]."""
    kl_weight: NDArray[np.float64]
    """(samples,), in [0, 10]."""
    token_task_weight: NDArray[np.float32] | None
    """(answer tokens of all samples, one after the other,), in [0, 10]."""
    token_kl_weight: NDArray[np.float32] | None
    """Likewise."""
    divergence: Literal["ForwardKl", "LabelK2", "TokenSetKl"]
    """What the KL weight multiplies: KL(reference || current) over the vocabulary; or
    (ln P_current - ln P_reference)^2 / 2 of the label token; or the KL over the safety tokens."""
    learning_rate_scale: float
    """In [0, 10]."""
    gradient_clip: float | None
    """Largest L2 norm of the gradient."""
    ema: Ema | None
    anchor: Anchor | None
    alignment_share: float | None
    """Share of alignment samples from the next step on, in [0, 1]; holds until changed."""
    alignment_extra: NotRequired[int]
    ratio_clip: list[RatioClip] | None
    """Per sample."""
    gradient_projection: bool
    """Remove from the task gradient what opposes the alignment gradient."""
    adapter_projection: float | None
    adapter_projection_count: NotRequired[int]
    anchor_weight: NotRequired[float]
    alignment_complement: NotRequired[float]
    layer_scale: NotRequired[NDArray[np.float64]]
    """(decoder blocks,), factor of each one's update, in [0, 1]."""
    steering: Steering | None

class Reason(TypedDict):
    sample: int | None
    """Position in the step; None if it is about all of it."""
    code: str
    message: str

class Candidate(TypedDict):
    name: str
    layer: int | None
    metrics: list[Metric]
    chosen: bool

class Metric(TypedDict):
    name: str
    value: float

class Descriptor(TypedDict):
    name: str
    version: str
    summary: str
    settings_schema: str
    """JSON Schema, as text."""

class Endorsement(TypedDict):
    """What a valid signature says."""

    name: str | None
    """None if it is one of cosign, which names neither policy nor version."""
    version: str | None
    sha256: str
    expires: str | None
    """Last day on which it holds; None for always."""
    key_id: str
