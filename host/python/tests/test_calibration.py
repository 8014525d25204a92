"""Policies fit themselves here as they do in the program, into the same files."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_journal import examples, signals
from test_signals import run

import risk_policy as rp


@pytest.fixture(scope="module")
def probe() -> rp.Configured:
    return rp.Policy.load("builtin:probe").configure({}, run())


def test_a_fitted_policy_tells_the_clusters_apart(probe: rp.Configured) -> None:
    fitted = probe.calibrate(examples(probe))
    assert fitted.policy == "probe" and fitted.summary and fitted.parameters
    [chosen] = [one for one in fitted.candidates if one["chosen"]]
    metrics = {one["name"]: one["value"] for one in chosen["metrics"]}
    assert metrics["test.auroc"] > 0.95
    ready = probe.calibrated(fitted)
    assert ready.parameters == fitted.parameters
    assert len(ready.needs["taps"][0]["layers"]) < len(probe.needs["taps"][0]["layers"])
    given = signals(ready, 0)
    assert ready.assess(given) == ready.assess(given, parameters=fitted.parameters)
    with pytest.raises(rp.PolicyFault):
        ready.assess(given, parameters=b"damaged")


def test_files_go_both_ways(host: Path, probe: rp.Configured, tmp_path: Path) -> None:
    fitted = probe.calibrate(examples(probe))
    path = tmp_path / "mine.json"
    fitted.save(path, model="toy", model_digest="ab" * 32)
    read = rp.Calibration.load(path)
    assert read.parameters == fitted.parameters and read.needs == fitted.needs
    assert (read.model, read.model_digest) == ("toy", "ab" * 32)
    (tmp_path / "probe.wasm").write_bytes(
        (Path(__file__).parents[3] / "plugins/probe.wasm").read_bytes()
    )
    command: list[Any] = [host, "policy", "inspect", tmp_path / "probe.wasm"]
    command += ["--calibration", path, "--layers", "4", "--hidden", "8", "--json"]
    subprocess.run(command, capture_output=True, check=True)
    # And one that the program wrote, with figures that are its own.
    command = [host, "calibrate", "--policy", tmp_path / "probe.wasm", "-o", tmp_path / "his.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    his = json.loads((tmp_path / "his.json").read_text())
    assert his["recomputed"]
    loaded = rp.Calibration.load(tmp_path / "his.json")
    assert loaded.parameters.hex() == his["parameters"]
    loaded.save(tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == his


def test_a_calibration_of_something_else_is_refused(probe: rp.Configured, tmp_path: Path) -> None:
    fitted = probe.calibrate(examples(probe))
    other = rp.Policy.load("builtin:probe").configure({"threshold": 0.3}, run())
    with pytest.raises(rp.CalibrationError, match="another set of policy settings"):
        other.calibrated(fitted)
    with pytest.raises(rp.CalibrationError, match="another policy file"):
        rp.Policy.load("builtin:sft").configure({}, run()).calibrated(fitted)
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(rp.CalibrationError, match="is no calibration file"):
        rp.Calibration.load(tmp_path / "x.json")
    with pytest.raises(rp.CalibrationError, match="none.json"):
        rp.Calibration.load(tmp_path / "none.json")


def test_labels_and_arrays_must_fit(probe: rp.Configured) -> None:
    layers = len(probe.needs["taps"][0]["layers"])
    array = np.zeros((2, layers, 8), np.float32)
    split: Any = ["Training", "Test"]
    for arguments, says in [
        (([True], split, [array]), "harmful has 1 entries and split 2"),
        (([True, 3], split, [array]), r"harmful\[1\]"),
        (([True, False], ["Training", "Exam"], [array]), "split.*unknown variant `Exam`"),
        (([True, False], split, []), "activations has 0 arrays"),
        (([True, False], split, [array[:1]]), r"activations\[0\] has the shape"),
    ]:
        harmful, parts, arrays = arguments
        with pytest.raises(rp.SignalError, match=says):
            probe.examples(harmful, parts, activations=arrays)
    one_class = probe.examples([True, True], split, activations=[array])
    assert len(one_class) == 2
    with pytest.raises(rp.PolicyRefused, match="gave up"):
        probe.calibrate(one_class)
