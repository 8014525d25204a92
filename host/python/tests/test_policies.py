"""Loading, trusting, configuring, combining."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import OLD, PLUGINS
from test_signals import good, run, step

import risk_policy as rp


def test_policies_that_come_with_the_package_are_those_of_the_repository() -> None:
    files = {f"builtin:{path.stem}" for path in PLUGINS.glob("*.wasm")}
    assert set(rp.builtins()) == files
    named, file = rp.Policy.load("builtin:probe"), rp.Policy.load(PLUGINS / "probe.wasm")
    assert named.digest == file.digest
    assert named.name == "probe" and named.contract == "0.2"
    assert named.settings_schema["properties"]
    assert named.describe()["version"] == named.version
    with pytest.raises(rp.PolicyFileError, match="the nearest is builtin:probe"):
        rp.Policy.load("builtin:prob")


def test_inspection_and_audit_are_those_of_the_program(host: Path) -> None:
    policy = rp.Policy.load(PLUGINS / "sft.wasm")
    for mine, command in [
        (policy.inspect(), ["policy", "inspect", policy.path]),
        (policy.audit(repeats=2), ["audit", policy.path, "--seed", "17", "--repeats", "2", "-q"]),
    ]:
        told = subprocess.run([host, *command, "--json"], capture_output=True, check=True)
        assert json.loads(json.dumps(mine)) == json.loads(told.stdout)


def test_both_contracts_are_served_and_no_other(tmp_path: Path) -> None:
    old = rp.Policy.load(OLD / "fixed-kl.wasm")
    assert old.contract == "0.1"
    bytes_ = (PLUGINS / "fixed-kl.wasm").read_bytes()
    unknown = tmp_path / "unknown.wasm"
    unknown.write_bytes(bytes_.replace(b"assessor@0.2.0", b"assessor@0.9.0"))
    with pytest.raises(rp.PolicyFileError, match=r"0\.9"):
        rp.Policy.load(unknown)
    for wrong in [tmp_path / "none.wasm", tmp_path]:
        with pytest.raises(rp.PolicyFileError):
            rp.Policy.load(wrong)


def test_a_policy_is_trusted_by_digest_and_signature(host: Path, tmp_path: Path) -> None:
    file = tmp_path / "fixed-kl.wasm"
    file.write_bytes((PLUGINS / "fixed-kl.wasm").read_bytes())
    key, other = rp.create_key(tmp_path / "a.key"), rp.create_key(tmp_path / "b.key")
    with pytest.raises(rp.SignatureError, match="exists already"):
        rp.create_key(tmp_path / "a.key")
    with pytest.raises(rp.SignatureError, match="can't be read"):
        rp.Policy.load(file, signed_by=key)
    sign = [host, "policy", "sign", file, "--key", tmp_path / "a.key"]
    subprocess.run(sign, capture_output=True, check=True)
    policy = rp.Policy.load(file, signed_by=key, sha256=rp.Policy.load(file).digest)
    said = policy.verify(tmp_path / "a.pub")
    assert (said["name"], said["sha256"]) == ("fixed-kl", policy.digest)
    with pytest.raises(rp.SignatureError, match="by key"):
        rp.Policy.load(file, signed_by=other)
    with pytest.raises(rp.SignatureError, match="by key"):
        policy.verify(other)
    with pytest.raises(rp.SignatureError, match="is pinned"):
        rp.Policy.load(file, sha256="0" * 64)
    with pytest.raises(rp.SignatureError, match="neither a public key"):
        rp.Policy.load(file, signed_by="nobody")
    revoked = tmp_path / "revoked"
    revoked.write_text(f"policy {policy.digest} it was wrong\n")
    with pytest.raises(rp.SignatureError, match="it was wrong"):
        policy.verify(key, revoked=revoked)
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(rp.SignatureError):
        policy.verify(key)


def test_settings_that_are_none_are_refused() -> None:
    policy = rp.Policy.load("builtin:fixed-kl")
    for settings, says in [
        ({"no_such": 1}, "no_such"),
        ({"beta": float("inf")}, "settings.beta is inf; it must be finite"),
        ([1], "settings is a list; give a dict"),
        ({1: 2}, "which is no text"),
        ({"x": "y" * (2 << 20)}, "the settings take more than"),
    ]:
        with pytest.raises(rp.SettingsError, match=says):
            policy.configure(settings, run())  # type: ignore[arg-type]
    with pytest.raises(rp.SettingsError, match="run.layers"):
        run(layers=-1)
    with pytest.raises(rp.SettingsError, match="there is no such field"):
        run(depth=3)


def test_a_setup_that_cant_meet_a_need_is_told() -> None:
    configured = rp.Policy.load("builtin:safegrad").configure({}, run())
    with pytest.raises(rp.UnmetNeed, match="add alignment data"):
        configured.check_capabilities()
    configured.check_capabilities(alignment=True, canary=True)
    assert configured.needs_summary()


def test_limits_hold_and_their_names_are_checked() -> None:
    engine = rp.Engine({"fuel_per_call": 2_000_000})
    assert engine.limits["fuel_per_call"] == 2_000_000
    with pytest.raises(rp.PolicyFault, match="its fuel"):
        rp.Policy.load("builtin:probe", engine=rp.Engine({"fuel_per_call": 1000}))
    for limits, says in [
        ({"fuel": 1}, "limits.fuel: unknown field"),
        ({"fuel_per_call": -1}, "limits.fuel_per_call"),
        ({"fuel_per_call": 0}, "no policy could run"),
    ]:
        with pytest.raises(rp.EngineError, match=says):
            rp.Engine(limits)
    small = rp.Policy.load("builtin:probe", engine=rp.Engine({"input_bytes": 100}))
    configured = small.configure({"layers": [1, 3]}, run())
    with pytest.raises(rp.SignalError, match="its arguments take more than"):
        configured.assess(configured.signals(**step(activations=[good()])))


def test_compiled_policies_are_kept_where_it_is_said(tmp_path: Path) -> None:
    engine = rp.Engine(cache=tmp_path / "cache")
    first = rp.Policy.load("builtin:sft", engine=engine)
    assert list((tmp_path / "cache/policies").iterdir())
    held = engine.confinement()
    assert held["jail"] and not held["isolated"]
    assert rp.Policy.load("builtin:sft", engine=rp.Engine(cache=False)).digest == first.digest


def test_a_policy_in_a_process_of_its_own_answers_the_same() -> None:
    isolated = rp.Policy.load("builtin:sft", engine=rp.Engine(isolate=True))
    here = rp.Policy.load("builtin:sft")
    one, other = (policy.configure({}, run()) for policy in (isolated, here))
    assert one.assess(one.signals(**step())) == other.assess(other.signals(**step()))


def test_other_threads_run_during_a_call() -> None:
    configured = rp.Policy.load("builtin:sft").configure({}, run())
    signals = configured.signals(**step())
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(configured.assess(signals).to_json()))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(found)) == 1


def test_an_engine_from_before_a_fork_says_so() -> None:
    configured = rp.Policy.load("builtin:sft").configure({}, run())
    signals = configured.signals(**step())
    child = os.fork()
    if child == 0:
        try:
            configured.assess(signals)
        except rp.EngineError as error:
            os._exit(0 if "fork" in str(error) else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_an_interrupt_ends_what_takes_long() -> None:
    program = (
        "import numpy as np, risk_policy as rp\n"
        "count, run = 2000, rp.RunInfo(layers=8, hidden=1024, vocabulary=9, samples_per_step=1,"
        " total_steps=1)\n"
        "probe = rp.Policy.load('builtin:probe').configure({'method': 'mlp'}, run)\n"
        "layers = len(probe.needs['taps'][0]['layers'])\n"
        "array = np.random.default_rng(0).normal(size=(count, layers, 1024)).astype('f4')\n"
        "split = ['Training', 'Training', 'Validation', 'Validation', 'Test'] * (count // 5)\n"
        "examples = probe.examples(np.arange(count) % 2 == 0, split, activations=[array])\n"
        "print('ready', flush=True)\n"
        "probe.calibrate(examples)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)
    asked = time.monotonic()
    process.send_signal(2)
    _, said = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in said, said
    assert time.monotonic() - asked < 10


def test_several_policies_amount_to_the_most_restrictive() -> None:
    loaded = [rp.Policy.load(f"builtin:{name}") for name in ("sft", "fixed-kl")]
    policies = [policy.configure({}, run()) for policy in loaded]
    asked = [one.assess(one.signals(**step())) for one in policies]
    samples = step()["samples"]
    both = rp.combine(policies, asked, samples)
    assert both.regularization["kl_weight"].tolist() == np.maximum(
        *(one.regularization["kl_weight"] for one in asked)
    ).tolist()
    combiner = rp.Combiner(policies)
    assert combiner.combine(asked, samples) == both
    assert rp.Combiner(policies, standing=combiner.standing).combine(asked, samples) == both
    with pytest.raises(rp.SignalError, match="2 policies"):
        combiner.combine(asked[:1], samples)
    with pytest.raises(rp.SignalError, match=r"assessments\[0\]: risk"):
        combiner.combine(asked, samples[:1])
    stand_in = rp.Assessment.fail_closed(2, "it crashed")
    strict = combiner.combine([asked[0], stand_in], samples)
    assert strict.risk.tolist() == [1, 1]
    assert strict.regularization["task_weight"].tolist() == [0, 0]


def test_rules_are_read_and_kept() -> None:
    configured = rp.Policy.load("builtin:sft").configure({}, run())
    signals = configured.signals(**step())
    found = configured.assess(signals)
    rules = rp.Guardrails(["kl_weight >= 0.5"])
    assert rules.rules == ["kl_weight >= 0.5"]
    with pytest.raises(rp.PolicyFault, match="kl_weight >= 0.5"):
        configured.require(rules, found, signals)
    configured.require(rp.Guardrails(["monotone"]), found, signals)
    with pytest.raises(rp.SettingsError, match=r"rules\[1\]"):
        rp.Guardrails(["monotone", "be good"])
    grad = rp.Policy.load("builtin:safegrad").configure({}, run())
    with pytest.raises(rp.UnmetNeed, match="forbids policy safegrad"):
        grad.check_rules(rp.Guardrails(["without gradient-projection"]))


def test_an_assessment_is_arrays_and_reads_back() -> None:
    configured = rp.Policy.load("builtin:fixed-kl").configure({}, run())
    found = configured.assess(configured.signals(**step()))
    assert found.risk.dtype == np.float64 and found.risk.shape == (2,)
    assert found.regularization["action"] == found.action == "Update"
    found.risk[0] = 7
    assert found.risk[0] != 7, "an array is the caller's own"
    again = rp.Assessment.from_json(found.to_json())
    assert again == found and again.to_json() == found.to_json()
    assert found.fuel > 0 and found.memory_bytes > 0 and found.seconds > 0
    assert found.to_dict()["state"] == found.state
    with pytest.raises(rp.SignalError, match="no assessment"):
        rp.Assessment.from_json("{}")
