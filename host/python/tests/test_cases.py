"""Recorded cases of every policy, through the functions that a trainer calls."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import OLD, PLUGINS

import risk_policy as rp

POLICIES = sorted(PLUGINS.glob("*.wasm")) + sorted(OLD.glob("*.wasm"))
#: Of the host's own comparison.
TOLERANCE = 1e-9


def cases(policy: Path) -> list[Path]:
    return sorted((policy.with_suffix("") / "cases").glob("*.json"))


def agree(expected: Any, found: Any, at: str = "") -> None:
    if isinstance(expected, dict):
        assert isinstance(found, dict), at
        for key in expected.keys() | found.keys():
            # Absent and None are the same.
            agree(expected.get(key), found.get(key), f"{at}.{key}")
    elif isinstance(expected, list):
        assert len(expected) == len(found), at
        for i, (one, other) in enumerate(zip(expected, found)):
            agree(one, other, f"{at}[{i}]")
    elif isinstance(expected, float):
        assert abs(expected - found) <= TOLERANCE * max(1.0, abs(expected)), at
    else:
        assert expected == found, at


def fields(signals: dict[str, Any]) -> dict[str, Any]:
    """Signals of a case as a trainer has them: arrays, and nothing for what wasn't measured."""
    given = {key: value for key, value in signals.items() if value not in (None, [])}
    given["samples"] = signals["samples"]
    given["activations"] = [
        np.array(one["values"], np.float32).reshape(one["samples"], one["layers"], one["hidden"])
        for one in signals.get("activations", [])
    ]
    if tokens := signals.get("tokens"):
        lists = {key: np.array(tokens[key], np.float32) for key in ("current", "reference")}
        given["tokens"] = {"offsets": np.array(tokens["offsets"], np.uint32)}
        given["tokens"] |= {key: list for key, list in lists.items() if list.size}
    return given


def ask(policy: rp.Policy, case: dict[str, Any]) -> dict[str, Any]:
    """The answer in the form of `expected`."""
    configured = policy.configure(case["settings"], rp.RunInfo(**case["run"]))
    if case["function"] == "configure":
        return {"needs": configured.needs}
    parameters = bytes.fromhex(case.get("parameters", ""))
    answer = {}
    if case["function"] == "calibrate":
        fitted = configured.calibrate(rp.Examples.from_dict(case["examples"]))
        answer["calibration"] = {
            "parameter_bytes": len(fitted.parameters),
            "needs": fitted.needs,
            "candidates": fitted.candidates,
            "summary": fitted.summary,
        }
        if "signals" not in case:
            return answer
        configured, parameters = configured.calibrated(fitted), fitted.parameters
    signals = rp.Signals.from_dict(case["signals"])
    state = bytes.fromhex(case.get("state", ""))
    found = configured.assess(signals, state, parameters)
    told = json.loads(found.to_json())
    assert told["risk"] == found.risk.tolist()
    if case["function"] == "calibrate":
        return answer | {"then": {"assessment": told}}
    return {"assessment": told}


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_case_is_answered_as_recorded(path: Path) -> None:
    policy = rp.Policy.load(path)
    found = cases(path)
    assert found, path
    told = policy.test(found)
    assert [row["outcome"] for row in told] == ["passed"] * len(found), told
    for file in found:
        case = json.loads(file.read_text())
        if "error" in case["expected"]:
            with pytest.raises(rp.PolicyError) as refused:
                ask(policy, case)
            assert case["expected"]["error"] in str(refused.value), file
        elif "error" in case["expected"].get("then", {}):
            with pytest.raises(rp.PolicyError):
                ask(policy, case)
        else:
            agree(case["expected"], ask(policy, case), file.stem)


def test_signals_of_arrays_are_those_of_the_cases() -> None:
    """What `Configured.signals` makes of arrays is what the host would have handed over."""
    same, refused = 0, 0
    for path in POLICIES:
        policy = rp.Policy.load(path)
        for file in cases(path):
            case = json.loads(file.read_text())
            if case["function"] != "assess" or "error" in case["expected"]:
                continue
            configured = policy.configure(case["settings"], rp.RunInfo(**case["run"]))
            if not case["signals"]["samples"]:
                with pytest.raises(rp.SignalError, match="samples is empty"):
                    configured.signals(**fields(case["signals"]))
                continue
            try:
                signals = configured.signals(**fields(case["signals"]))
            except rp.SignalError:
                # Cases may give less than was asked for, or have the layers of another calibration.
                refused += 1
                continue
            same += 1
            recorded = rp.Signals.from_dict(case["signals"])
            agree(recorded.to_dict(), signals.to_dict(), file.stem)
            parameters = bytes.fromhex(case.get("parameters", ""))
            state = bytes.fromhex(case.get("state", ""))
            one = configured.assess(signals, state, parameters)
            assert one == configured.assess(recorded, state, parameters), file
    assert same >= 150 and refused <= 20, (same, refused)


def test_a_wrong_expectation_is_noticed(tmp_path: Path) -> None:
    case = json.loads((PLUGINS / "sft/cases/assess.json").read_text())
    case["expected"]["assessment"]["regularization"]["task_weight"][1] = 0.5
    (tmp_path / "wrong.json").write_text(json.dumps(case))
    [row] = rp.Policy.load("builtin:sft").test(tmp_path)
    assert row["outcome"] == "differs"
    assert row["at"] == ".assessment.regularization.task_weight[1]"
    with pytest.raises(rp.PolicyError, match="no cases"):
        rp.Policy.load("builtin:sft").test(PLUGINS / "sft/src")
