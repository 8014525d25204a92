"""TensorBoard itself reads what a run left: the curves of both trainings, also of one that was killed and goes on,
the configuration as text and as hyperparameters; from the files, and from its server.
"""

import importlib.metadata as metadata
import math
import struct
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

import common

common.need("tensorboard")

from tensorboard import program  # noqa: E402
from tensorboard.backend.event_processing import event_accumulator  # noqa: E402
from tensorboard.plugins.hparams import plugin_data_pb2  # noqa: E402


def single(value):
    """As event files hold it."""
    return struct.unpack("f", struct.pack("f", value))[0]


def files(folder):
    accumulator = event_accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    accumulator.Reload()
    return accumulator


def same(scalars, expected, what):
    """Each step once and in order."""
    steps = [step for step, _ in scalars]
    assert steps == sorted(set(steps)), f"{what}: {steps}"
    assert dict(scalars) == {step: single(value) for step, value in expected.items()}, what


def check_files(folder, metrics):
    accumulator = files(folder)
    found = common.measured(metrics)
    for name, expected in found.items():
        same([(one.step, one.value) for one in accumulator.Scalars(name)], expected, name)
    return accumulator, len(found)


def served(url, path, **query):
    address = f"{url}data/plugin/{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(address, timeout=30) as reply:
        return common.json.load(reply)


def check_server(logdir, runs):
    """The same from the server, once it has read everything."""
    board = program.TensorBoard()
    board.configure(argv=[None, "--logdir", str(logdir), "--port", "0", "--host", "127.0.0.1", "--reload_interval", "1"])
    url = board.launch()
    deadline = time.monotonic() + 60
    while set(runs) - set(served(url, "scalars/tags")):
        assert time.monotonic() < deadline, served(url, "scalars/tags")
        time.sleep(0.5)
    time.sleep(2)
    for run, metrics in runs.items():
        found = common.measured(metrics)
        for name in ("train/loss", "train/learning_rate", "train/gradient_norm"):
            rows = served(url, "scalars/scalars", run=run, tag=name)
            same([(step, value) for _, step, value in rows], found[name], f"{run} {name}")
    texts = served(url, "text/tags")
    assert all("config/text_summary" in texts[run] for run in runs), texts


def main():
    print(f"tensorboard {metadata.version('tensorboard')}")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        both = ["--policy", "builtin:fixed-kl", "--set", "train.baseline=true", "--steps", "5", "--eval-limit", "2"]
        common.host(folder, "train", "--quiet", "--track", "tensorboard", "--output", "both", *both)
        runs = {"both/tensorboard/policy": folder / "both/metrics.jsonl"}
        runs["both/tensorboard/plain"] = folder / "both/baseline/metrics.jsonl"
        for run, metrics in runs.items():
            accumulator, count = check_files(folder / run, metrics)
            refusals = [(one.step, one.value) for one in accumulator.Scalars("eval/refusal")]
            assert [step for step, _ in refusals] == [0, 5], refusals
            print(f"{run}: {count} curves")
            accumulator.Tensors("config/text_summary")
            content = accumulator.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
            start = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
            assert start.hparams["train.batch"].number_value == 8 and start.group_name == "both", start
            assert start.hparams["policy.0.path"].string_value == "builtin:fixed-kl", start
            content = accumulator.SummaryMetadata("_hparams_/session_end_info").plugin_data.content
            end = plugin_data_pb2.HParamsPluginData.FromString(content).session_end_info
            assert end.status == 1 and not math.isnan(end.end_time_secs), end

        track = ["--track", "tensorboard", "--checkpoint-every", "7"]
        common.killed_after(folder, 10, "train", "--quiet", "--output", "run", *common.SHORT, *track)
        common.host(folder, "train", "--resume", "run", "--quiet")
        left = list((folder / "run/tensorboard/plain").iterdir())
        assert len(left) == 2, left
        _, count = check_files(folder / "run/tensorboard/plain", folder / "run/metrics.jsonl")
        print(f"killed and resumed: {count} curves, each step once")
        runs["run/tensorboard/plain"] = folder / "run/metrics.jsonl"
        check_server(folder, runs)
        print(f"served: {len(runs)} runs")


main()
