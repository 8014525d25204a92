"""Policies that misbehave: each is stopped where and as the program stops it."""

import json
from pathlib import Path
from typing import Any

import pytest

import risk_policy as rp

STEPS = 5


def limits(settings: list[str]) -> dict[str, int]:
    pairs = (one.removeprefix("limits.").split("=") for one in settings)
    return {name: int(value.replace("_", "")) for name, value in pairs}


def train(path: Path, engine: rp.Engine) -> None:
    """What a trainer asks of a policy, without a model."""
    policy = rp.Policy.load(path, engine=engine)
    run = rp.RunInfo(
        layers=2, hidden=4, vocabulary=100, samples_per_step=2, total_steps=STEPS, judges=["critic"]
    )
    configured = policy.configure({}, run)
    configured.check_capabilities(canary=True, alignment=True, judges=["critic"])
    if configured.needs["calibration"]:
        labels = [harmful for harmful in (True, False) for _ in range(3)]
        split: Any = ["Training", "Validation", "Test"] * 2
        configured = configured.calibrated(configured.calibrate(configured.examples(labels, split)))
    sample = {"origin": "Task", "prompt_tokens": 3, "answer_tokens": 2}
    samples: Any = [{"id": 0, **sample}, {"id": 1, **sample}]
    state = b""
    for step in range(STEPS):
        signals = configured.signals(step=step, learning_rate=1e-3, samples=samples)
        state = configured.assess(signals, state).state


def test_every_hostile_policy_is_stopped_with_the_words_of_the_host(
    hostile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = []
    index = json.loads((hostile / "index.json").read_text())
    assert len(index) > 100
    engines: dict[str, rp.Engine] = {}
    monkeypatch.chdir(hostile)
    for one in index:
        # The compiler is given up after seconds there; the program's own tests wait for that.
        if one["by"].startswith("limits.compile"):
            continue
        # What a loop has no code for, such as steering, it refuses itself.
        if one["name"] == "needs-an-actuator":
            continue
        set_here = limits(one["set"])
        key = json.dumps(set_here, sort_keys=True)
        engine = engines.get(key) or engines.setdefault(key, rp.Engine(set_here))
        try:
            train(Path(f"{one['name']}.wasm"), engine)
            found = "never", ""
        except rp.PolicyFault as fault:
            found = "fault", str(fault)
        except rp.PolicyError as error:
            found = "error", str(error)
        expected = {0: "never", 1: "error", 3: "fault"}[one["exit"]]
        said = all(words in found[1] for words in one["says"])
        if found[0] != expected or "\n" in found[1] or not (said or expected == "never"):
            wrong.append((one["name"], expected, one["says"], found))
    assert not wrong, "\n".join(map(str, wrong))
