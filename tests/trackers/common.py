"""What the programs beside this one share. Each ends with 77 where its packages are missing."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHORT = ["--no-baseline", "--set", "eval.harmful=[]", "--set", "eval.harmless=[]", "--set", "eval.task=[]"]


def there(name):
    """Whether a package can be imported. Its parents are asked first: a missing one is an error to `find_spec`."""
    parts = name.split(".")
    return all(importlib.util.find_spec(".".join(parts[: end + 1])) for end in range(len(parts)))


def need(*packages):
    missing = [name for name in packages if not there(name)]
    if missing:
        print(f"skipped: Python has no {', '.join(missing)}")
        sys.exit(77)


def program():
    """HOST, or what cargo has built."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return os.environ.get("HOST", str(target / "release/host"))


def environment(folder, **more):
    return {**os.environ, "XDG_CACHE_HOME": f"{folder}/cache", "XDG_CONFIG_HOME": f"{folder}/config", **more}


def host(folder, *arguments, status=0, **more):
    """Runs it, and gives what it says on stderr."""
    command = [program(), *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment(folder, **more), capture_output=True, text=True)
    assert done.returncode == status, f"{command}: {done.returncode}\n{done.stderr}"
    return done.stderr


def killed_after(folder, lines, *arguments, **more):
    """Starts a run in the folder `run`, and kills it once metrics.jsonl has so many lines."""
    command = [program(), *map(str, arguments)]
    process = subprocess.Popen(command, cwd=folder, env=environment(folder, **more), stderr=subprocess.PIPE, text=True)
    metrics = Path(folder) / "run/metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.is_file() and metrics.read_bytes().count(b"\n") >= lines):
        assert time.monotonic() < deadline and process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def measured(metrics):
    """Every number of a metrics.jsonl by the name that trackers have for it: {name: {step: value}}."""
    found = {}
    for line in metrics.read_text().splitlines():
        record = json.loads(line)
        for name, value in record.items():
            if name != "step" and isinstance(value, (int, float)) and not isinstance(value, bool):
                found.setdefault(f"train/{name}", {})[record["step"]] = value
    return found
