"""Journals written here are replayed by the program, and what was changed is found."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_signals import HIDDEN, run

import risk_policy as rp

#: As `run` has it.
STEPS = 5
DIGEST = "ab" * 32


def calibrated(name: str = "probe", **settings: Any) -> rp.Configured:
    configured = rp.Policy.load(f"builtin:{name}").configure(settings, run())
    if not configured.needs["calibration"]:
        return configured
    return configured.calibrated(configured.calibrate(examples(configured)))


def examples(configured: rp.Configured, count: int = 48) -> rp.Examples:
    """Two clusters that are easy to tell apart."""
    random = np.random.default_rng(7)
    harmful = np.arange(count) % 2 == 0
    split: Any = [("Training", "Validation", "Test")[i // 2 % 3] for i in range(count)]
    arrays = []
    for tap in configured.needs["taps"]:
        noise = random.normal(size=(count, len(tap["layers"]), HIDDEN))
        arrays.append((noise + 3 * harmful[:, None, None]).astype(np.float32))
    return configured.examples(harmful, split, activations=arrays)


def signals(configured: rp.Configured, step: int) -> rp.Signals:
    random = np.random.default_rng(step)
    sample: Any = {"origin": "Task", "prompt_tokens": 3, "answer_tokens": 2}
    before: Any = {"step": step - 1, "action": "Update", "task_loss": 1.5, "kl": None}
    before |= {"gradient_norm": 0.5, "learning_rate": 1e-4}
    return configured.signals(
        step=step,
        learning_rate=1e-4,
        samples=[{"id": 2 * step, **sample}, {"id": 2 * step + 1, **sample}],
        activations=[
            random.normal(size=(2, len(tap["layers"]), HIDDEN)).astype(np.float32)
            for tap in configured.needs["taps"]
        ],
        previous=before if step else None,
    )


def write(
    folder: Path, policies: list[rp.Configured], steps: int = STEPS, **more: Any
) -> tuple[rp.Journal, list[bytes]]:
    key = folder.parent / "journal.key"
    if not key.exists():
        rp.create_key(key)
    more = {"key": key, "identity": {"model": DIGEST}} | more
    journal = rp.Journal.create(folder, policies, **more)
    states = [b""] * len(policies)
    go_on(journal, policies, states, range(steps))
    return journal, states


def go_on(
    journal: rp.Journal, policies: list[rp.Configured], states: list[bytes], steps: range
) -> None:
    combiner = rp.Combiner(policies)
    for step in steps:
        found = []
        for i, policy in enumerate(policies):
            given = signals(policy, step)
            found.append(policy.assess(given, states[i]))
            journal.assessment(i, given, found[-1], state=states[i])
            states[i] = found[-1].state
        if len(policies) > 1:
            journal.combined(step, combiner.combine(found, given.samples))
        journal.seal()


def end(journal: rp.Journal) -> None:
    journal.end(
        "finished",
        {
            "step": STEPS - 1,
            "action": "Update",
            "task_loss": 1.0,
            "kl": 0.1,
            "gradient_norm": 1.0,
            "learning_rate": 1e-4,
        },
    )


def audited(host: Path, folder: Path) -> Any:
    command = [host, "audit", "--run", folder, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("names", [["probe"], ["probe", "fixed-kl"]], ids="+".join)
def test_the_program_replays_what_was_written_here(
    host: Path, tmp_path: Path, names: list[str]
) -> None:
    folder = tmp_path / "run" / "journal"
    folder.parent.mkdir()
    policies = [calibrated(name) for name in names]
    journal, _ = write(folder, policies)
    end(journal)
    with pytest.raises(rp.JournalError, match="has ended"):
        journal.seal()
    told = audited(host, folder)
    assert not told["findings"] and not told["replay"]["findings"], told
    assert told["replay"]["first_difference"] is None
    assert told["replay"]["replayed"] == told["replay"]["assessments"] == STEPS * len(names)
    mine = rp.replay(folder.parent)
    assert mine["passed"] and mine["replay"]["replayed"] == STEPS * len(names)
    assert rp.replay(folder, key=journal.public_key)["verified"]["key_is_recorded"] is False
    compared = rp.compare(folder, rp.Policy.load("builtin:sft"))
    assert len(compared["steps"]) == STEPS and compared["other"] == "sft"


def test_what_a_run_left_is_signed_and_checked_by_the_program(host: Path, tmp_path: Path) -> None:
    run_folder = tmp_path / "run"
    (run_folder / "adapter").mkdir(parents=True)
    weights = run_folder / "adapter" / "adapter_model.safetensors"
    weights.write_bytes(b"weights")
    journal, _ = write(run_folder / "journal", [calibrated()])
    with pytest.raises(rp.JournalError, match="hasn't ended"):
        journal.sign_run()
    end(journal)
    unsigned = audited(host, run_folder)
    assert unsigned["verdict"] == "unproven" and not unsigned["findings"]
    journal.sign_run(notices=["one row was left out"])
    seal = json.loads((run_folder / "seal.json").read_text())
    names = ["adapter/adapter_model.safetensors", "journal.key", "journal.pub"]
    assert list(seal["files"]) == names
    assert seal["ended"] == "finished" and seal["notices"] == ["one row was left out"]
    assert audited(host, run_folder)["verdict"] == "passed"

    def verdict_with(path: Path, content: bytes) -> str:
        before = path.read_bytes() if path.exists() else None
        path.write_bytes(content)
        found: str = audited(host, run_folder)["verdict"]
        if before is None:
            path.unlink()
        else:
            path.write_bytes(before)
        return found

    assert verdict_with(weights, b"others!") == "failed"
    assert verdict_with(run_folder / "adapter" / "more.bin", b"more") == "failed"
    seal["ended"] = "stopped"
    assert verdict_with(run_folder / "seal.json", json.dumps(seal).encode()) == "failed"
    assert audited(host, run_folder)["verdict"] == "passed"

    other, _ = write(tmp_path / "elsewhere" / "records", [calibrated()])
    end(other)
    with pytest.raises(rp.JournalError, match="isn't the folder journal"):
        other.sign_run()


def test_a_run_that_goes_on_is_signed_anew(host: Path, tmp_path: Path) -> None:
    run_folder, policies = tmp_path / "run", [calibrated("fixed-kl")]
    run_folder.mkdir()
    journal, states = write(run_folder / "journal", policies, steps=2)
    mark = journal.mark()
    journal.end("interrupted")
    journal.sign_run()
    again = rp.Journal.resume(
        run_folder / "journal", policies, mark, key=tmp_path / "run" / "journal.key",
        identity={"model": DIGEST},
    )
    assert not (run_folder / "seal.json").exists()
    go_on(again, policies, states, range(2, STEPS))
    assert audited(host, run_folder)["verdict"] == "failed"  # It has no end.
    end(again)
    again.sign_run()
    assert audited(host, run_folder)["verdict"] == "passed"


def test_what_was_changed_is_found(host: Path, tmp_path: Path) -> None:
    journal, _ = write(tmp_path / "journal", [calibrated("fixed-kl")])
    end(journal)
    records = tmp_path / "journal" / "records.jsonl"
    whole = records.read_text()
    for changed in [
        whole.replace('"kl_weight":[', '"kl_weight":[0.0,', 1),
        whole.replace('"learning_rate":0.0001', '"learning_rate":0.0002', 1),
        "\n".join(whole.splitlines()[:-1]) + "\n",
        "\n".join(whole.splitlines()[:2] + whole.splitlines()[3:]) + "\n",
    ]:
        assert changed != whole
        records.write_text(changed)
        told = audited(host, tmp_path / "journal")
        assert told["verdict"] == "failed" and told["findings"]
        mine = rp.replay(tmp_path / "journal")
        assert not mine["passed"] and mine["verified"]["findings"]
    records.write_text(whole)
    other = rp.create_key(tmp_path / "other.key")
    assert rp.replay(tmp_path / "journal", key=other)["verified"]["findings"]


def test_an_assessment_that_the_policy_did_not_give_is_found(tmp_path: Path) -> None:
    """Signed and whole, and yet not what the policy says."""
    configured = calibrated("fixed-kl")
    rp.create_key(tmp_path / "a.key")
    journal = rp.Journal.create(tmp_path / "journal", [configured], key=tmp_path / "a.key")
    given = signals(configured, 0)
    told = json.loads(configured.assess(given).to_json())
    told["risk"] = [0.25, 0.25]
    journal.assessment(0, given, rp.Assessment.from_json(json.dumps(told)))
    journal.end("stopped")
    found = rp.replay(tmp_path / "journal")
    assert found["replay"]["first_difference"]["field"].startswith("risk")


def test_a_run_goes_on_from_a_mark_with_the_same_bytes(tmp_path: Path) -> None:
    policies = [calibrated("probe"), calibrated("fixed-kl")]
    whole, _ = write(tmp_path / "whole", policies)
    end(whole)
    begun, states = write(tmp_path / "parts", policies, steps=2)
    mark, kept = begun.mark(), list(states)
    go_on(begun, policies, states, range(2, 3))
    del begun
    journal = rp.Journal.resume(
        tmp_path / "parts",
        policies,
        json.loads(json.dumps(mark)),
        key=tmp_path / "journal.key",
        identity={"model": DIGEST},
    )
    go_on(journal, policies, kept, range(2, STEPS))
    end(journal)
    for name in ("records.jsonl", "tensors.bin"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    with pytest.raises(rp.JournalError, match="was begun with other policies"):
        rp.Journal.resume(tmp_path / "parts", policies[:1], mark, key=tmp_path / "journal.key")


def test_a_fault_is_recorded_with_what_stood_in(hostile: Path, tmp_path: Path) -> None:
    policy = rp.Policy.load(hostile / "fails-once.wasm")
    configured = policy.configure({}, run())
    rp.create_key(tmp_path / "a.key")
    journal = rp.Journal.create(
        tmp_path / "journal", [configured], key=tmp_path / "a.key", on_fault="strict=3"
    )
    state, faults = b"", 0
    for step in range(STEPS):
        given = signals(configured, step)
        try:
            found = configured.assess(given, state)
            journal.assessment(0, given, found, state=state)
            state = found.state
        except rp.PolicyFault as fault:
            faults += 1
            stands_in = rp.Assessment.fail_closed(2, str(fault), state=state)
            journal.fault(0, given, fault, state=state, stands_in=stands_in)
        journal.seal()
    end(journal)
    assert faults == 1
    assert rp.replay(tmp_path / "journal")["passed"]


def test_a_journal_that_cant_be_begun_says_why(tmp_path: Path) -> None:
    one = calibrated("sft")
    other = rp.Policy.load("builtin:sft").configure({}, run(total_steps=9))
    rp.create_key(tmp_path / "a.key")
    (tmp_path / "there").mkdir()
    for folder, policies, more, error, says in [
        ("there", [one], {}, rp.JournalError, "exists"),
        ("new", [], {}, rp.JournalError, "needs a policy"),
        ("new", [one, other], {}, rp.JournalError, "for another run"),
        ("new", [one], {"mode": "heavy"}, rp.JournalError, "mode: unknown variant"),
        ("new", [one], {"identity": {"model": "x"}}, rp.JournalError, "is no SHA-256"),
        ("new", [one], {"key": tmp_path / "none.key"}, rp.SignatureError, "none.key"),
    ]:
        with pytest.raises(error, match=says):
            rp.Journal.create(
                tmp_path / folder, policies, **({"key": tmp_path / "a.key"} | more)  # type: ignore
            )
    journal = rp.Journal.create(tmp_path / "new", [one], key=tmp_path / "a.key")
    given = signals(one, 0)
    with pytest.raises(rp.JournalError, match="none of the number 1"):
        journal.assessment(1, given, one.assess(given))
    torn = given.to_dict() | {"tokens": {"offsets": [0, 9], "current": [1.0], "reference": []}}
    with pytest.raises(rp.SignalError, match="signals.tokens.offsets don't cut"):
        journal.assessment(0, rp.Signals.from_dict(torn), one.assess(given))
    with pytest.raises(rp.JournalError, match="takes a PolicyFault"):
        journal.fault(0, given, ValueError("x"))  # type: ignore[arg-type]
    with pytest.raises(rp.JournalError, match="is none of finished"):
        journal.end("done")  # type: ignore[arg-type]
    assert journal.head[0] == 1 and journal.unrecorded == 0
    with pytest.raises(rp.JournalError, match="has no journal"):
        rp.replay(tmp_path)


def test_a_light_journal_is_whole_and_cant_be_replayed(tmp_path: Path) -> None:
    journal, _ = write(tmp_path / "journal", [calibrated()], mode="light")
    end(journal)
    found = rp.replay(tmp_path / "journal")
    assert not found["passed"] and not found["verified"]["findings"]
    assert found["replay"]["not_recorded"] == STEPS
