"""Runs the examples of several processes, and verifies what they left.

    python3 tests/python/examples.py ray_train|fsdp_sft|deepspeed_sft

A tiny random model on two CPU processes. Without the package that an example is about it says so and ends with code 77.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
#: Package that an example needs, and how it is started.
EXAMPLES = {
    "ray_train": ("ray", [sys.executable]),
    "fsdp_sft": ("accelerate", TORCHRUN),
    "deepspeed_sft": ("deepspeed", TORCHRUN),
}
STEPS = 6


def missing(name):
    """The first package that isn't there."""
    packages = ("torch", "transformers", "peft", "trl", "datasets", "risk_policy", EXAMPLES[name][0])
    return next((one for one in packages if importlib.util.find_spec(one) is None), None)


def check(folder):
    """That the journal has every step and replays, and that there is an adapter."""
    import risk_policy

    lines = [json.loads(line) for line in (folder / "risk_policy/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(STEPS)), lines
    assert all(line["samples"] == 4 for line in lines), "a step's samples are those of both processes"
    assert lines[-1]["kl"] > 0, "the model has moved"
    found = risk_policy.replay(folder / "risk_policy")
    assert found["passed"] and found["replay"]["replayed"] == STEPS, found
    manifest, made_of = (json.loads((folder / "risk_policy" / name).read_text()) for name in ("manifest.json", "trainer.json"))
    assert manifest["status"] == "finished" and made_of["processes"] == 2, (manifest, made_of)
    assert (folder / "adapter/adapter_model.safetensors").stat().st_size > 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("example", choices=sorted(EXAMPLES))
    name = parser.parse_args().example
    if (package := missing(name)) is not None:
        print(f"SKIPPED: {package} isn't installed; pip install {package}")
        sys.exit(77)
    import transformers
    from parity import data, random_model

    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder).resolve()
        random_model(work / "model")
        data(work, transformers.AutoTokenizer.from_pretrained(work / "model"))
        command = [*EXAMPLES[name][1], str(ROOT / f"examples/python/{name}.py"), "model", "rows.jsonl", "out", "--steps", str(STEPS)]
        quiet = {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
        # DeepSpeed builds a part of itself on first use, by the ninja beside this Python.
        quiet["PATH"] = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(command, cwd=work, env={**os.environ, **quiet}, capture_output=True, text=True, timeout=540)
        if done.returncode != 0:
            sys.exit(f"FAILED: {name} ended with code {done.returncode}: {done.stderr.strip()[-2000:]}")
        check(work / "out")
        print(f"ok: {name}: {done.stdout.strip().splitlines()[-2]}; the journal replays")


if __name__ == "__main__":
    main()
