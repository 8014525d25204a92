"""A real MLflow server gets a run: parameters, every number of both trainings, its end; and a run that was killed and
goes on is the same run there, with each step once.
"""

import importlib.metadata as metadata
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import common

common.need("mlflow")


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Server:
    def __init__(self, folder):
        self.url = f"http://127.0.0.1:{free_port()}"
        store = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--default-artifact-root", f"{folder}/artifacts"]
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"]
        self.log = open(f"{folder}/server.log", "w")
        port = ["--port", self.url.rsplit(":", 1)[1]]
        self.process = subprocess.Popen([*command, *port, *store], stdout=self.log, stderr=self.log, cwd=folder)

    def __enter__(self):
        deadline = time.monotonic() + 180
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/health", timeout=5).read()
                return self
            except OSError:
                assert time.monotonic() < deadline and self.process.poll() is None, Path(self.log.name).read_text()
                time.sleep(0.5)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()


def check(client, run, metrics, what):
    found = common.measured(metrics)
    for name, expected in found.items():
        history = client.get_metric_history(run.info.run_id, name)
        steps = [one.step for one in history]
        assert sorted(steps) == sorted(expected), f"{what} {name}: {steps}"
        # A step that is repeated takes another time, and the server keeps the first one.
        if not any(word in name for word in ("second", "millisecond")):
            assert {one.step: one.value for one in history} == expected, f"{what} {name}"
    print(f"{what}: {len(found)} metrics, each step once")


def main():
    os.environ["MLFLOW_TRACKING_URI"] = "file:///nowhere"
    from mlflow import MlflowClient

    print(f"mlflow {metadata.version('mlflow')}")
    with tempfile.TemporaryDirectory() as folder, Server(folder) as server:
        folder = Path(folder)
        client = MlflowClient(server.url)
        track = ["--track", f"mlflow={server.url}", "--set", "trackers.flush_seconds=60"]
        both = ["--policy", "builtin:fixed-kl", "--set", "train.baseline=true", "--steps", "5", "--eval-limit", "2"]
        common.host(folder, "train", "--quiet", *track, "--output", "both", *both)
        experiment = client.get_experiment_by_name("host")
        runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
        assert set(runs) == {"both plain", "both policy"}, runs
        for name, metrics in (("both policy", "metrics.jsonl"), ("both plain", "baseline/metrics.jsonl")):
            run = runs[name]
            check(client, run, folder / "both" / metrics, name)
            assert run.info.status == "FINISHED" and run.info.end_time, run.info
            assert run.data.params["train.max_steps"] == "5", run.data.params
            assert run.data.tags["policy.0.name"] == "fixed-kl" and run.data.tags["host.status"] == "finished"
            assert [one.step for one in client.get_metric_history(run.info.run_id, "eval/refusal")] == [0, 5]

        arguments = ["train", "--quiet", "--output", "run", *common.SHORT, *track, "--checkpoint-every", "7"]
        # The demo is over before a server has answered; so it is slowed down.
        common.killed_after(folder, 10, *arguments, "--set", "train.micro_batch=1", "--set", "train.batch=64")
        agree = ["--allow-endpoint", server.url]
        common.host(folder, "train", "--resume", "run", "--quiet", *agree)
        again = [run for run in client.search_runs([experiment.experiment_id]) if run.info.run_name == "run"]
        assert again and again[0].info.status == "FINISHED", again
        check(client, again[0], folder / "run/metrics.jsonl", "killed and resumed")


main()
