"""Engine and policies; types for checkers alone, `_native` has them."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypeAlias

from ._records import (
    AnchorSignals,
    Canary,
    Descriptor,
    Endorsement,
    GradientConflict,
    JudgeScores,
    Needs,
    Outcome,
    PrefixScores,
    Sample,
    SteeringSignals,
    TokenSignals,
    Trial,
)
from ._values import Assessment, Calibration, Examples, Guardrails, RunInfo, Signals

_Path: TypeAlias = str | PathLike[str]
_Floats: TypeAlias = NDArray[np.float64] | Sequence[float]

@final
class Engine:
    """The WebAssembly engine with its limits. Cheap to share; `Policy.load` makes one by default."""

    def __new__(
        cls,
        limits: Mapping[str, int] | None = None,
        *,
        cache: bool | _Path = True,
        isolate: bool = False,
        offline: bool = False,
    ) -> Engine:
        """`limits`: what a policy may use, by name, as `[limits]` of `host train` has them
        (`fuel_per_call`, `memory_bytes`, ...); the host's own where a name isn't given.

        `cache`: compiled policies are kept in the folder that `host` uses (True), nowhere (False),
        or in this folder. Policies are compiled in a process of their own, with limits on memory
        and time. `isolate`: they run in such processes too.
        `offline`: policies named `oci://` are those that were pulled before, a tag as it was then."""

    @property
    def limits(self) -> dict[str, int]: ...
    def confinement(self) -> dict[str, Any]:
        """What stands between policies and the machine, as `host doctor` shows it."""

def builtins() -> list[str]:
    """Names of the policies that come with the package, as `builtin:NAME`."""

@final
class Policy:
    """A policy component: checked, compiled, and asked who it is. It keeps nothing between calls."""

    @staticmethod
    def load(
        path: _Path,
        *,
        engine: Engine | None = None,
        sha256: str | None = None,
        signed_by: _Path | None = None,
        revoked: _Path | None = None,
    ) -> Policy:
        """Loads a file, one that comes with the package (`"builtin:NAME"`), or one of a registry
        (`"oci://REGISTRY/NAME:TAG"`, or `@sha256:...`): a tag is looked up once, told to the logger
        `risk_policy`, and `path` has its digest.

        `sha256` pins the file. `signed_by`: public key of minisign or cosign (a file, or the key
        itself) whose signature must lie beside it, or in its registry. `revoked`: list of what is no longer trusted.

        Raises `PolicyFileError`, `SignatureError`, `PolicyFault` (in `describe`)."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def contract(self) -> str:
        """The version of the contract it was built for, such as `"0.2"`."""
    @property
    def path(self) -> str: ...
    @property
    def digest(self) -> str:
        """SHA-256 of the file, in hexadecimal."""
    @property
    def engine(self) -> Engine: ...
    @property
    def settings_schema(self) -> dict[str, Any]:
        """JSON Schema of the settings."""
    def describe(self) -> Descriptor:
        """Asks the policy once more who it is."""
    def inspect(
        self,
        settings: Mapping[str, Any] | None = None,
        *,
        layers: int = 30,
        hidden: int = 576,
        seed: int = 17,
        signed_by: _Path | None = None,
    ) -> dict[str, Any]:
        """What `host policy inspect --json` prints: file, code, signature, settings, needs."""
    def verify(self, key: _Path, *, revoked: _Path | None = None) -> Endorsement:
        """Checks the signature beside the file or in its registry. Raises `SignatureError`."""
    def configure(self, settings: Mapping[str, Any] | None, run: RunInfo) -> Configured:
        """Asks whether the settings are good for this run, and what has to be measured.

        Raises `SettingsError`, `UnmetNeed`, `PolicyFault`."""
    def audit(
        self,
        settings: Mapping[str, Any] | None = None,
        *,
        calibration: Calibration | None = None,
        layers: int = 30,
        hidden: int = 576,
        seed: int = 17,
        signed_by: _Path | None = None,
        repeats: int = 1000,
        depends_on: Sequence[str] = (),
    ) -> dict[str, Any]:
        """What `host audit FILE --json` prints; `["passed"]` says whether no check failed. Takes
        seconds to minutes."""
    def test(self, cases: _Path | Sequence[_Path]) -> list[dict[str, Any]]:
        """Runs recorded cases (`*.json` of a folder, or these files), as `host policy test`.

        Per case: `case`, `about`, `outcome` (`"passed"`, `"differs"`, `"fault"`), and where it
        differs `at`, `expected` and `answer`; `fault` has the words of a fault."""

@final
class Configured:
    """A policy with its settings, configured for a run."""

    @property
    def policy(self) -> Policy: ...
    @property
    def run(self) -> RunInfo: ...
    @property
    def settings(self) -> dict[str, Any]: ...
    @property
    def needs(self) -> Needs:
        """What `configure` asked for, or what calibration left of it. A new dict every time."""
    @property
    def parameters(self) -> bytes:
        """What calibration fitted; empty before."""
    def needs_summary(self) -> list[str]:
        """The needs in words, one line each."""
    def check_capabilities(
        self,
        *,
        canary: bool = False,
        task: bool = True,
        alignment: bool = False,
        base: bool = False,
        additive: bool = True,
        anchors: tuple[bool, bool] = (False, False),
        judges: Sequence[str] = (),
    ) -> None:
        """Raises `UnmetNeed` for the first need that a setup can't meet.

        `canary`: held-out harmful prompts. `task`, `alignment`: rows of these origins. `base`: the
        model before its alignment. `additive`: the adapter adds a low-rank matrix and does nothing
        else. `anchors`: harmful and harmless safety anchors. `judges`: names of those that can be
        asked. A need that the setup has no code for is the caller's to refuse."""
    def examples(
        self,
        harmful: NDArray[np.bool_] | Sequence[bool],
        split: Sequence[str],
        *,
        activations: Sequence[NDArray[np.float32]] = (),
        judges: Sequence[JudgeScores] = (),
        row_activations: Sequence[NDArray[np.float32]] = (),
        row_judges: Sequence[JudgeScores] = (),
    ) -> Examples:
        """Labelled examples, measured as `needs` asks. `split`: per example `"Training"` (to fit on),
        `"Validation"` (to choose on) or `"Test"` (to report on). `activations`: per tap one array (examples, layers of the
        tap, hidden), float32, C-contiguous. `row_*`: the same of up to `calibration_rows` task
        rows of the run, unlabelled. Raises `SignalError`."""
    def calibrate(self, examples: Examples) -> Calibration:
        """Lets the policy fit itself. Raises `PolicyRefused`, `PolicyFault`, `SignalError`."""
    def calibrated(self, calibration: Calibration) -> Configured:
        """The same policy with these parameters and the needs they leave.

        Raises `CalibrationError` if it is of another policy file or other settings."""
    def signals(
        self,
        *,
        step: int,
        learning_rate: float,
        samples: Sequence[Sample],
        activations: Sequence[NDArray[np.float32]] = (),
        tokens: TokenSignals | None = None,
        judges: Sequence[JudgeScores] = (),
        prefixes: Sequence[PrefixScores] = (),
        canary: Canary | None = None,
        trials: Sequence[Trial] = (),
        gradient_conflict: GradientConflict | None = None,
        drift: float | None = None,
        sample_loss: _Floats | None = None,
        gradient_agreement: _Floats | None = None,
        anchors: AnchorSignals | None = None,
        steering: SteeringSignals | None = None,
        previous: Outcome | None = None,
    ) -> Signals:
        """What was measured at one step, checked against `needs`.

        `activations`: per tap of `needs["taps"]` one array (samples, layers of the tap, hidden),
        float32, C-contiguous, on the CPU. `learning_rate`: scheduled, before any scaling.
        `sample_loss`: (samples,) mean cross-entropy per answer token, in nats.
        `gradient_agreement`: (samples,) change of the loss along the alignment gradient, nats per
        unit of distance. `drift`: L2 norm of the adapter's update of the weights. `previous`: what
        became of the step before; None at step 0.

        What wasn't asked for is refused. `activations`, `tokens`, `judges`, `prefixes`,
        `sample_loss` must be there if they were asked for; the rest may be absent at a step, as in
        the host. Arrays keep NaN and infinities, which a policy has to answer; other numbers
        must be finite, since a journal can't hold others. Raises `SignalError`, whose text begins
        with the field, such as `signals.activations[0]`."""
    def assess(
        self, signals: Signals, state: bytes = b"", parameters: bytes | None = None
    ) -> Assessment:
        """Asks about one step. `state` is what the step before returned, empty at the first;
        `parameters` those of `calibrated` unless others are given. Other threads run meanwhile.

        Raises `PolicyFault`: whatever goes wrong here, the update must not happen."""
    def check_rules(self, rules: Guardrails) -> None:
        """Raises `UnmetNeed` if the policy declares what a rule forbids."""
    def require(self, rules: Guardrails, assessment: Assessment, signals: Signals) -> None:
        """Raises `PolicyFault` if the assessment breaks a rule of the person who runs this."""

@final
class Combiner:
    """What several policies amount to: field by field the most restrictive."""

    def __new__(
        cls, policies: Sequence[Configured], *, standing: Sequence[Mapping[str, Any]] = ()
    ) -> Combiner:
        """Raises `UnmetNeed` if one of several may use what can't be combined."""
    def combine(self, assessments: Sequence[Assessment], samples: Sequence[Sample]) -> Assessment:
        """Of one step, in the order of the policies. One alone is left as it is. Raises
        `SignalError` if a list has another length than there are samples."""
    @property
    def standing(self) -> list[dict[str, Any]]:
        """What holds until a policy says otherwise; goes into checkpoints, and back through
        `standing=`."""

def combine(
    policies: Sequence[Configured], assessments: Sequence[Assessment], samples: Sequence[Sample]
) -> Assessment:
    """`Combiner(policies).combine(...)`, for one step by itself."""
