"""Policies of `host`, asked from Python: the same sandbox, limits, checks and journal.

Records of the contract are dicts with the names that journals, recorded cases and `--json` have
(`task_weight`, `"RollBack"`, `"LastPromptToken"`); `_records.pyi` names their fields. Lists with a
number per sample, token or unit are numpy arrays. Nothing here keeps an array that it was given:
one copy goes into the policy's memory, and changing the array afterwards changes nothing.

Every error is a `PolicyError`, and its text is one line: what happened, where, what to do.
"""

from typing import Final

from ._errors import (
    CalibrationError as CalibrationError,
    EngineError as EngineError,
    JournalError as JournalError,
    PolicyError as PolicyError,
    PolicyFault as PolicyFault,
    PolicyFileError as PolicyFileError,
    PolicyRefused as PolicyRefused,
    SettingsError as SettingsError,
    SignalError as SignalError,
    SignatureError as SignatureError,
    UnmetNeed as UnmetNeed,
)
from ._journal import (
    Journal as Journal,
    compare as compare,
    create_key as create_key,
    replay as replay,
)
from ._policy import (
    Combiner as Combiner,
    Configured as Configured,
    Engine as Engine,
    Policy as Policy,
    builtins as builtins,
    combine as combine,
)
from ._records import (
    Action as Action,
    Anchor as Anchor,
    AnchorNeed as AnchorNeed,
    AnchorSignals as AnchorSignals,
    Canary as Canary,
    Candidate as Candidate,
    Descriptor as Descriptor,
    Ema as Ema,
    Endorsement as Endorsement,
    GradientConflict as GradientConflict,
    JudgeNeed as JudgeNeed,
    JudgeScores as JudgeScores,
    Judgement as Judgement,
    Metric as Metric,
    Needs as Needs,
    Outcome as Outcome,
    PrefixScores as PrefixScores,
    RatioClip as RatioClip,
    Reason as Reason,
    Regularization as Regularization,
    Sample as Sample,
    Steering as Steering,
    SteeringNeed as SteeringNeed,
    SteeringSignals as SteeringSignals,
    Tap as Tap,
    TokenSet as TokenSet,
    TokenSignals as TokenSignals,
    Trial as Trial,
)
from ._values import (
    Assessment as Assessment,
    Calibration as Calibration,
    Examples as Examples,
    Guardrails as Guardrails,
    RunInfo as RunInfo,
    Signals as Signals,
)

__version__: Final[str]
