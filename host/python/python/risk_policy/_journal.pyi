"""Journal and replay; types for checkers alone, `_native` has them."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Literal, final

from typing_extensions import TypeAlias

from ._errors import PolicyFault
from ._policy import Configured, Engine, Policy
from ._records import Outcome
from ._values import Assessment, Calibration, Guardrails, Signals

_Path: TypeAlias = str | PathLike[str]

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
