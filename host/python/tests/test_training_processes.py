"""One process, two with whole parameters (DDP), with shards of them (FSDP2), with partitions of the optimizer (DeepSpeed's
ZeRO): the same training."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from training_setup import gap, torch, trainer  # First: it skips where torch is missing.

from safetensors.torch import load_file

import risk_policy
from risk_policy.training import UnmetNeed, UnsuitableSetup, needs, shards, zero
from training_processes import partitioned, run

COMPARED = "sft probe many-2 many-resumed hidden safe-mix finch ema sppft odd told acting".split()
MODES = ["ddp", "fsdp", *(["zero-1", "zero-2"] if importlib.util.find_spec("deepspeed") else [])]
SHOWN = "loss task_loss kl risk max_risk task_weight kl_weight gradient_norm answer_tokens samples".split()
SCRIPT = Path(__file__).with_name("training_processes.py")


def launched(*arguments):
    """Two processes of a program; what they printed."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", *map(str, arguments)]
    # DeepSpeed builds a part of itself on first use, by the ninja beside this Python.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "PATH": path}
    done = subprocess.run(command, capture_output=True, text=True, timeout=540, env=env)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def saved_as(name):
    """As files of peft call a parameter of an adapter."""
    return re.sub(r"\.default(?=\.|$)", "", re.sub(r"_orig_mod\.|module\.", "", name))


def compared(mode):
    """What can be had in it: the way back takes whole moments."""
    return [name for name in COMPARED if name != "told" or not mode.startswith("zero")]


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    where = {name: tmp_path_factory.mktemp(name) for name in ("one", *MODES)}
    key = where["one"] / "journal.key"
    risk_policy.create_key(key)
    for name in COMPARED:
        run(name, where["one"], key)
    for mode in MODES:
        launched(SCRIPT, where[mode], key, mode, ",".join(compared(mode)))
    return where


@pytest.mark.parametrize(("mode", "name"), [(mode, name) for mode in MODES for name in compared(mode)])
def test_two_processes_train_as_one_does(folders, mode, name):
    ours, theirs = (torch.load(folders[one] / f"{name}.pt") for one in ("one", mode))
    assert gap(ours, theirs) < 1e-4
    lines = [[json.loads(line) for line in (folders[one] / name / "out/risk_policy/metrics.jsonl").read_text().splitlines()] for one in ("one", mode)]
    assert len(lines[0]) == 6, "one assessment per optimizer step"
    for one, two in zip(*lines, strict=True):
        for shown in SHOWN:
            assert one.get(shown) == pytest.approx(two.get(shown), abs=1e-5), (one["step"], shown)
    journal = folders[mode] / name / "out/risk_policy/journal"
    # What a test put into the mouth of a policy isn't what the policy says when asked again.
    assert risk_policy.replay(journal)["passed"] or name in ("told", "acting")
    # Whole, also where it is put together from shards.
    kept = load_file(journal.parent / "adapter/adapter_model.safetensors")
    assert gap(kept, {saved_as(name): one for name, one in theirs.items()}) < 1e-7


def test_a_checkpoint_of_shards_holds_the_whole_adapter(folders):
    saved = load_file(folders["fsdp"] / "many-resumed/adapter/adapter_model.safetensors")
    ours = {name.replace(".default", ""): one for name, one in torch.load(folders["fsdp"] / "many-resumed.pt").items()}
    assert gap(ours, saved) == 0.0


def test_actions_and_what_holds_the_model_do_what_they_say(folders):
    """So that two processes can't agree on having done nothing."""

    def lines_of(name):
        return [json.loads(line) for line in (folders["one"] / name / "out/risk_policy/metrics.jsonl").read_text().splitlines()]

    lines = lines_of("told")
    assert [line.get("action") for line in lines] == [None, "skip", None, None, "roll-back", None]
    assert [line["learning_rate"] > 0 for line in lines] == [True, False, True, True, False, True]
    assert [line["samples"] for line in lines_of("safe-mix")] == [4, 7, 7, 7, 7, 7]
    assert [line["samples"] for line in lines_of("odd")] == [4, 2, 4, 3, 4, 4]
    assert all(line["anchor_harmful"] > 0 and line["anchor_harmless"] > 0 for line in lines_of("hidden")[1:])


REFUSED = """
import pathlib, sys
sys.path.insert(0, {tests!r})
from training_setup import model, peft, lora, torch, trainer
from risk_policy.training import UnsuitableSetup
import os
folder = pathlib.Path({folder!r})


def begun(seed):
    base = model()
    torch.manual_seed(seed)
    return peft.get_peft_model(base, lora())


for fields in (dict(fsdp_config={{"version": 1}}), dict(fsdp_config={{"version": 2}}, model=begun(int(os.environ["RANK"])))):
    try:
        trainer(folder, "builtin:sft", fsdp=True, **fields)
    except UnsuitableSetup as refused:
        with open(folder / os.environ["RANK"], "a") as told:
            told.write(str(refused))
"""


def test_shards_that_a_policy_cannot_be_served_in_are_refused(tmp_path):
    script = tmp_path / "refused.py"
    script.write_text(REFUSED.format(tests=str(SCRIPT.parent), folder=str(tmp_path)))
    launched(script)
    # In files, since what two processes print gets mixed up.
    for rank in "01":
        said = (tmp_path / rank).read_text()
        assert "FSDP of version 1" in said and "the processes begin with different adapters" in said


def test_a_model_that_was_sharded_when_it_was_loaded_is_refused(tmp_path):
    one = trainer(tmp_path, "builtin:sft")
    one.is_distributed_loading_by_transformers = True
    with pytest.raises(UnsuitableSetup, match="distributed_config"):
        shards.check(one, [])


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"zero_optimization": {"stage": 3}}, "takes parameters apart"),
        ({"zero_optimization": {"stage": 0}}, "1 or 2"),
        ({}, "1 or 2"),
        ({"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}}, "offload_optimizer"),
        ({"zero_optimization": {"stage": 2}, "fp16": {"enabled": True}}, "fp16"),
        ({"zero_optimization": {"stage": 1}, "optimizer": {"type": "Adam"}}, "rules of their own"),
        (partitioned(2)["deepspeed"], None),
    ],
)
def test_partitions_that_a_policy_cannot_be_served_in_are_refused(config, says):
    state = SimpleNamespace(deepspeed_plugin=SimpleNamespace(deepspeed_config=config))
    one = SimpleNamespace(is_deepspeed_enabled=True, accelerator=SimpleNamespace(state=state))
    if says is None:
        zero.check(one)
        return
    with pytest.raises(UnsuitableSetup, match=says):
        zero.check(one)


def test_the_way_back_takes_whole_moments():
    wanted = {"actuators": ["roll-back"], "canary_every": None, "drift": False, "calibration": False}
    needs.check("one", wanted)
    with pytest.raises(UnmetNeed, match="flat partitions"):
        needs.check("one", wanted, moments=False)
