"""The policies of a training, asked on rank 0: each by itself, the most restrictive answer per field, all of it on record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import risk_policy
from risk_policy import PolicyFault

from . import needs
from .errors import UnsuitableSetup
from .readout import Tap, tap_of
from .records import Records
from .settings import RiskPolicyConfig, strict_steps


class Policies:
    """Loaded and configured policies, with what each carries from step to step."""

    def __init__(self, config: RiskPolicyConfig, run: Mapping[str, int], limits_of_setup: Mapping[str, Any]) -> None:
        """``run`` describes the run to the policies. Raises ``PolicyError`` for what can't be loaded or configured, and
        ``UnmetNeed`` for needs that this training can't meet."""
        self.config = config
        engine = risk_policy.Engine(dict(config.limits) or None, isolate=config.isolate, offline=config.offline)
        info = risk_policy.RunInfo(**run)
        self.configured: list[Any] = []
        self.guardrails = risk_policy.Guardrails(list(config.require)) if config.require else None
        for choice in config.choices:
            policy = risk_policy.Policy.load(choice.path, engine=engine, sha256=choice.sha256, signed_by=choice.signed_by)
            one = policy.configure(choice.settings, info)
            if choice.calibration is not None:
                one = one.calibrated(risk_policy.Calibration.load(choice.calibration))
            fits = bool(one.parameters) or bool(config.labelled)
            needs.check(policy.name, one.needs, calibrated=fits, **limits_of_setup)
            if self.guardrails is not None:
                one.check_rules(self.guardrails)
            self.configured.append(one)
        self.combiner = risk_policy.Combiner(self.configured)
        self.states = [b""] * len(self.configured)
        self.faults = [0] * len(self.configured)
        self.journal: Any = None
        #: The last step that is wholly on record, and whether one is on record in part.
        self.recorded: int | None = None
        self.half = False

    @property
    def needs(self) -> list[Mapping[str, Any]]:
        return [one.needs for one in self.configured]

    def to_fit(self) -> list[tuple[int, list[Tap]]]:
        """Policies that are to be calibrated, with the taps that they read."""
        open_ = [(i, one) for i, one in enumerate(self.configured) if one.needs["calibration"] and not one.parameters]
        return [(i, [tap_of(tap) for tap in one.needs["taps"]]) for i, one in open_]

    def fit(self, index: int, harmful: Sequence[bool], parts: Sequence[str], activations: Sequence[Any], folder: Path) -> None:
        """Calibrates a policy inside the sandbox and keeps the file."""
        one = self.configured[index]
        calibration = one.calibrate(one.examples(harmful, parts, activations=activations))
        folder.mkdir(parents=True, exist_ok=True)
        calibration.save(folder / f"{one.policy.name}.calibration.json")
        self.configured[index] = one.calibrated(calibration)

    def begin(self, folder: Path, identity: Mapping[str, str], mark: Mapping[str, Any] | None) -> None:
        """Opens the journal in this folder, or goes on from a mark."""
        # After calibration, which may have left less to ask for.
        self.combiner = risk_policy.Combiner(self.configured, standing=self.combiner.standing)
        config = self.config
        kept = {
            "key": config.key, "mode": config.journal, "budget_bytes": config.journal_budget_bytes,
            "on_fault": config.on_fault, "require": self.guardrails, "identity": dict(identity),
        }
        if mark is None:
            self.journal = risk_policy.Journal.create(folder, self.configured, **kept)
        else:
            self.journal = risk_policy.Journal.resume(folder, self.configured, mark, **kept)

    def ask(self, measured: Mapping[str, Any], records: Records) -> dict[str, Any]:
        """Asks each about one step, records it, and returns what they amount to.

        Raises ``PolicyFault`` where the run ends: on record as well, and before anything acts on it.
        """
        answers = []
        for index, one in enumerate(self.configured):
            self.half = index > 0
            signals = one.signals(**view(one.needs, measured))
            state = self.states[index]
            try:
                answer = one.assess(signals, state)
                if self.guardrails is not None:
                    one.require(self.guardrails, answer, signals)
            except PolicyFault as error:
                answers.append(self._stand_in(index, signals, state, error))
                records.faults += 1
                continue
            self.journal.assessment(index, signals, answer, state=state)
            self.states[index], self.faults[index] = answer.state, 0
            answers.append(answer)
        combined = self.combiner.combine(answers, measured["samples"])
        if len(answers) > 1:
            self.journal.combined(measured["step"], combined)
        self.journal.seal()
        self.half, self.recorded = False, measured["step"]
        asked = dict(combined.regularization)
        asked["risk"], asked["metrics"] = np.asarray(combined.risk), dict(combined.metrics)
        return asked

    def _stand_in(self, index: int, signals: Any, state: bytes, error: PolicyFault) -> Any:
        self.faults[index] += 1
        if self.faults[index] > strict_steps(self.config.on_fault):
            self.journal.fault(index, signals, error, state=state)
            self.journal.seal()
            raise error
        stand_in = risk_policy.Assessment.fail_closed(len(signals.samples), str(error), state=state)
        self.journal.fault(index, signals, error, state=state, stands_in=stand_in)
        return stand_in

    def saved(self) -> dict[str, Any]:
        """What goes into a checkpoint."""
        self.journal.sync()
        return {
            "states": [state.hex() for state in self.states], "faults": list(self.faults),
            "standing": list(self.combiner.standing), "journal": self.journal.mark(),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """The way back."""
        if len(saved["states"]) != len(self.configured):
            raise UnsuitableSetup(f"the checkpoint is of {len(saved['states'])} policies, and there are {len(self.configured)}; name the same")
        self.states, self.faults = [bytes.fromhex(one) for one in saved["states"]], list(saved["faults"])
        self.combiner = risk_policy.Combiner(self.configured, standing=saved["standing"])


def canary_due(wanted: Mapping[str, Any], step: int) -> bool:
    """Whether a policy wants the canary's margins before this step."""
    every = wanted["canary_every"]
    return every is not None and step % max(every, 1) == 0


def view(wanted: Mapping[str, Any], measured: Mapping[str, Any]) -> dict[str, Any]:
    """Of all that was measured, what a policy asked for."""
    seen = {name: measured[name] for name in ("step", "learning_rate", "samples", "previous")}
    seen["activations"] = [measured["activations"][tap_of(tap)] for tap in wanted["taps"]]
    if wanted["tokens"]:
        seen["tokens"] = {"offsets": measured["offsets"], **{name: measured["tokens"][name] for name in wanted["tokens"]}}
    if measured.get("canary") and canary_due(wanted, measured["step"]):
        seen["canary"] = measured["canary"]
    if wanted["drift"]:
        seen["drift"] = measured["drift"]
    if wanted.get("sample_loss"):
        seen["sample_loss"] = measured["sample_loss"]
    if wanted.get("anchors"):
        seen["anchors"] = measured["anchors"]
    return seen
