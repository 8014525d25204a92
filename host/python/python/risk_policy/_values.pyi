"""What goes into a policy and comes out of it; types for checkers alone, `_native` has them."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypeAlias

from ._records import Action, Candidate, Needs, Reason, Regularization, Sample

_Path: TypeAlias = str | PathLike[str]

@final
class RunInfo:
    """The run that a policy is configured for."""

    def __new__(
        cls,
        *,
        layers: int,
        hidden: int,
        vocabulary: int,
        samples_per_step: int,
        total_steps: int,
        seed: int = 0,
        judges: Sequence[str] = (),
    ) -> RunInfo:
        """`layers`: decoder blocks. `hidden`: width of the residual stream in units.
        `vocabulary`: rows of the embedding. `samples_per_step`: of one optimizer step, over all
        micro-batches and processes. `judges`: names of those that can be asked."""

    @property
    def layers(self) -> int: ...
    @property
    def hidden(self) -> int: ...
    @property
    def vocabulary(self) -> int: ...
    @property
    def samples_per_step(self) -> int: ...
    @property
    def total_steps(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def judges(self) -> list[str]: ...
    def to_dict(self) -> dict[str, Any]: ...

@final
class Signals:
    """What was measured at one step; made by `Configured.signals`."""

    @property
    def step(self) -> int: ...
    @property
    def samples(self) -> list[Sample]: ...
    @property
    def bytes(self) -> int:
        """Of its lists."""
    def to_dict(self) -> dict[str, Any]:
        """As recorded cases have it, with lists in place of arrays."""
    @staticmethod
    def from_dict(signals: Mapping[str, Any]) -> Signals:
        """From what `to_dict` or a recorded case has; not checked against any needs."""

@final
class Examples:
    """Labelled examples; made by `Configured.examples`."""

    def __len__(self) -> int: ...
    @staticmethod
    def from_dict(examples: Mapping[str, Any]) -> Examples:
        """From what a recorded case has; not checked against any needs."""

@final
class Assessment:
    """What a policy decided about one step; checked."""

    @property
    def risk(self) -> NDArray[np.float64]:
        """(samples,), in [0, 1]."""
    @property
    def regularization(self) -> Regularization:
        """How to train on the step."""
    @property
    def action(self) -> Action:
        """`regularization["action"]`."""
    @property
    def reasons(self) -> list[Reason]: ...
    @property
    def metrics(self) -> dict[str, float]: ...
    @property
    def state(self) -> bytes:
        """Goes to the next step; empty of a combination, since each policy keeps its own."""
    @property
    def fuel(self) -> int:
        """Instructions, which depend on the arguments alone; 0 of a combination."""
    @property
    def memory_bytes(self) -> int: ...
    @property
    def seconds(self) -> float:
        """Wall clock of the call inside the host, instantiation and copying included."""
    def to_dict(self) -> dict[str, Any]: ...
    def to_json(self) -> str:
        """One line: sorted keys, shortest numbers, the state in hexadecimal. Equal assessments
        give equal bytes."""
    @staticmethod
    def from_json(line: str) -> Assessment: ...
    @staticmethod
    def fail_closed(samples: int, message: str, *, state: bytes = b"") -> Assessment:
        """What stands in for the assessment of a policy that failed at a step of so many samples:
        risk 1, task weights 0, KL weights 1. `message` is the words of the fault."""

@final
class Calibration:
    """What a policy made of labelled examples."""

    @property
    def parameters(self) -> bytes: ...
    @property
    def needs(self) -> Needs: ...
    @property
    def summary(self) -> str: ...
    @property
    def candidates(self) -> list[Candidate]:
        """What was tried, and which of it was chosen."""
    @property
    def policy(self) -> str: ...
    @property
    def policy_sha256(self) -> str: ...
    @property
    def settings(self) -> dict[str, Any]: ...
    @property
    def model(self) -> str: ...
    @property
    def model_digest(self) -> str: ...
    def save(self, path: _Path, *, model: str = "", model_digest: str = "") -> None:
        """Writes the file that `host calibrate` writes. `host train` takes it only for the model
        of `model_digest` (SHA-256 over its files, as a run's manifest.json has it)."""
    @staticmethod
    def load(path: _Path) -> Calibration:
        """Reads it, or one of `host calibrate`. Raises `CalibrationError`."""

@final
class Guardrails:
    """Rules that every assessment must keep, such as `"kl_weight >= 0.5 * risk"`; see
    docs/guide/audit.md. Raises `SettingsError` for a rule that can't be read."""

    def __new__(cls, rules: Sequence[str]) -> Guardrails: ...
    @property
    def rules(self) -> list[str]: ...
