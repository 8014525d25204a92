"""Policies of `host`, asked from Python: the same sandbox, limits, checks and journal.

Records of the contract are dicts with the names that journals, recorded cases and `--json` have
(`task_weight`, `"RollBack"`, `"LastPromptToken"`); `_records.pyi` names their fields. Lists with a
number per sample, token or unit are numpy arrays. Nothing here keeps an array that it was given:
one copy goes into the policy's memory, and changing the array afterwards changes nothing.

Every error is a `PolicyError`, and its text is one line: what happened, where, what to do.
"""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Final, Literal, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypeAlias

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

__version__: Final[str]

_Path: TypeAlias = str | PathLike[str]
_Floats: TypeAlias = NDArray[np.float64] | Sequence[float]

# ---------------------------------------------------------------------------------------- errors

class PolicyError(Exception):
    """Whatever goes wrong between a policy file and what it decides; base of all others."""

class EngineError(PolicyError):
    """The WebAssembly engine can't run here, or a limit makes no sense."""

class PolicyFileError(PolicyError):
    """The file can't be read, is no policy, imports something, or is of an unknown contract."""

class SignatureError(PolicyError):
    """The file isn't the pinned one, isn't signed by that key, or was revoked; a key can't be used."""

class SettingsError(PolicyError):
    """The settings are no JSON object, or the policy refuses them."""

class UnmetNeed(PolicyError):
    """The policy asks for what this run or its setup doesn't have."""

class SignalError(PolicyError):
    """A signal, label or array that a policy can't be given: names the field and what to do."""

class PolicyRefused(PolicyError):
    """`calibrate` gave up with words of the policy's own."""

class CalibrationError(PolicyError):
    """A calibration file that can't be read, or that is of another policy, settings or model."""

class JournalError(PolicyError):
    """A journal that can't be written or read, or that doesn't hold what it should."""

class PolicyFault(PolicyError):
    """The policy crashed, went past a limit, or answered nonsense: the update must not happen."""

# ------------------------------------------------------------------------------- engine and policy

@final
class Engine:
    """The WebAssembly engine with its limits. Cheap to share; `Policy.load` makes one by default."""

    def __new__(
        cls,
        limits: Mapping[str, int] | None = None,
        *,
        cache: bool | _Path = True,
        isolate: bool = False,
    ) -> Engine:
        """`limits`: what a policy may use, by name, as `[limits]` of `host train` has them
        (`fuel_per_call`, `memory_bytes`, ...); the host's own where a name isn't given.

        `cache`: compiled policies are kept in the folder that `host` uses (True), nowhere (False),
        or in this folder. Policies are compiled in a process of their own, with limits on memory
        and time. `isolate`: they run in such processes too."""

    @property
    def limits(self) -> dict[str, int]: ...
    def confinement(self) -> dict[str, Any]:
        """What stands between policies and the machine, as `host doctor` shows it."""

def builtins() -> list[str]:
    """Names of the policies that come with the package, as `builtin:NAME`."""

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
        """Loads a file, or one that comes with the package (`"builtin:NAME"`).

        `sha256` pins the file. `signed_by`: public key (a file, or the key itself) whose signature
        must lie beside it. `revoked`: list of what is no longer trusted.

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
        """Checks the signature beside the file. Raises `SignatureError`."""
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

# ----------------------------------------------------------------------------------------- journal

def create_key(path: _Path) -> str:
    """Makes a secret key without a password, and its public half beside it with the ending `.pub`;
    returns that in base64. Raises `SignatureError` if there is a file already."""

@final
class Journal:
    """Writes the journal of a run: every assessment with its arguments, chained and signed.
    `host audit --run FOLDER` replays it; see `replay`."""

    @staticmethod
    def create(
        folder: _Path,
        policies: Sequence[Configured],
        *,
        key: _Path | None = None,
        mode: Literal["full", "light"] = "full",
        budget_bytes: int = 4 << 30,
        on_fault: str = "stop",
        require: Guardrails | None = None,
        identity: Mapping[str, str] | None = None,
    ) -> Journal:
        """Makes the folder, which must not exist (those above it may), and writes and signs the
        first record.

        `key`: secret key; that of `host` (made on first use) if none is given. `mode`: `"light"`
        keeps of tensors only their SHA-256, so nothing can be replayed. `identity`: SHA-256 of what
        else the run is made of, by name, such as `{"model": ..., "data.0": ...}`. `on_fault`:
        `"stop"`, or
        `"strict=N"` (a stand-in for at most N steps in a row). Raises `JournalError`, `SignatureError`."""
    @staticmethod
    def resume(
        folder: _Path,
        policies: Sequence[Configured],
        mark: Mapping[str, Any],
        *,
        key: _Path | None = None,
        mode: Literal["full", "light"] = "full",
        budget_bytes: int = 4 << 30,
        on_fault: str = "stop",
        require: Guardrails | None = None,
        identity: Mapping[str, str] | None = None,
    ) -> Journal:
        """Goes on from a `mark()`; what was written after it is cut off. All else must be as it was
        for `create`."""
    def assessment(
        self, policy: int, signals: Signals, assessment: Assessment, *, state: bytes = b""
    ) -> None:
        """Adds what policy number `policy` was given at `signals.step` (with this `state`) and what
        it answered. At every step in the order of the policies."""
    def fault(
        self,
        policy: int,
        signals: Signals,
        error: PolicyFault,
        *,
        state: bytes = b"",
        stands_in: Assessment | None = None,
    ) -> None:
        """The same of a policy that failed; `stands_in` is what took its place
        (`Assessment.fail_closed`), None where the run ends."""
    def combined(self, step: int, assessment: Assessment) -> None:
        """Adds what the assessments of several policies amount to; after them, at every step."""
    def seal(self) -> None:
        """Writes what was added and signs it: before anything acts on it."""
    def end(
        self,
        ending: Literal["finished", "interrupted", "stopped", "early-stop", "failed"],
        last: Outcome | None = None,
    ) -> None:
        """Adds the last record, seals, and waits for the disk. Nothing can be added afterwards.

        `"finished"`: all steps of the run; `"stopped"`: by a policy; `"interrupted"` and
        `"early-stop"`: before. `last` is what became of the last step, which a replay misses
        otherwise; None if it failed."""
    def sign_run(self, *, notices: Sequence[str] = ()) -> None:
        """Signs, after `end`, everything that lies in the run's folder, in which the journal is the
        folder `journal`, as what the run left: `seal.json`. `host audit --run` checks it. `notices`
        is what a reader should know of the run. Raises `JournalError` if the journal isn't the one
        that was written here any more."""
    def sync(self) -> None: ...
    def mark(self) -> dict[str, Any]:
        """Where the journal stands, for a checkpoint. Everything must be sealed."""
    @property
    def head(self) -> tuple[int, str]:
        """Records, and the hash of the last one."""
    @property
    def unrecorded(self) -> int:
        """Assessments that can't be replayed, since their tensors didn't fit into the budget."""
    @property
    def public_key(self) -> str:
        """That verifies it, in base64."""

def replay(
    folder: _Path, *, key: _Path | None = None, engine: Engine | None = None
) -> dict[str, Any]:
    """Verifies a journal (of a run's folder, or itself) and asks its policies everything again.

    `passed`, `verified` (`records`, `head`, `key`, `findings`), `replay` (`assessments`,
    `replayed`, `not_recorded`, `first_difference`, `findings`), as `host audit --run DIR --json`
    has them. What else a run left (stages.json) only the program checks. Raises `JournalError` for
    what is no journal, and if the run had higher limits than `engine` allows."""

def compare(
    folder: _Path,
    policy: Policy,
    settings: Mapping[str, Any] | None = None,
    *,
    calibration: Calibration | None = None,
) -> dict[str, Any]:
    """What another policy would have said at every step of a journal: `recorded`, `other`, `steps`.
    Raises `UnmetNeed` if the run didn't record what it needs."""
