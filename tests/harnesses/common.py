"""The program, its server and its own evaluation, for programs that compare harnesses with it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "examples/demo/data"
TOKENS = 32


def need(*modules):
    """Ends with 77, which is no failure, where a package isn't installed."""
    from importlib.util import find_spec

    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        print(f"skipped: {', '.join(missing)} not installed")
        sys.exit(77)


def program():
    target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
    path = Path(os.environ.get("HOST", Path(target) / "release/host"))
    if not path.exists():
        print(f"skipped: {path} isn't built")
        sys.exit(77)
    return str(path)


def host(*arguments):
    """What a command prints, as JSON."""
    done = subprocess.run([program(), *map(str, arguments)], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def rows(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines() if line.strip()]


def write(path, lines):
    Path(path).write_text("".join(json.dumps(line) + "\n" for line in lines))


def limited(folder, name, count):
    """The first rows of a file of the demo, in a file of their own."""
    path = Path(folder) / name
    write(path, rows(DATA / name)[:count])
    return path


def evaluated(folder, model, *sets):
    """The last model of `host eval`: its metrics and its answers."""
    answers = Path(folder) / f"own-{Path(sets[1]).name}"
    options = ["--json", "--quiet", "--max-new-tokens", TOKENS, "--generations", answers]
    for name in ("harmful", "harmless"):
        if f"--{name}" not in sets:
            options += ["--set", f"eval.{name}=[]"]
    report = host("eval", *options, *model, *sets)
    name, metrics = list(report.items())[-1]
    return metrics, [line for line in rows(answers) if line["model"] == name]


class Server:
    """`host serve` on a port that is free."""

    def __init__(self, *model):
        arguments = [program(), "serve", "--port", "0", "--json", *map(str, model)]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        text = ""
        while not text.rstrip().endswith("}"):
            line = self.process.stdout.readline()
            if not line:
                sys.exit("the server didn't start")
            text += line
        address = json.loads(text)
        self.url, self.model, self.context = address["url"], address["model"], address["context"]
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(60)
        assert code == 130, f"the server ended with {code}"

    def post(self, path, body):
        from urllib.request import Request, urlopen

        data = json.dumps(body).encode()
        base = self.url.removesuffix("/v1")
        request = Request(base + path, data, {"Content-Type": "application/json"})
        return json.load(urlopen(request))

    def get(self, path):
        from urllib.request import urlopen

        return json.load(urlopen(self.url.removesuffix("/v1") + path))


class Checks:
    """Figures of both sides; the program fails if some differ."""

    def __init__(self, other="host eval"):
        self.failed, self.other = 0, other

    def equal(self, what, harness, own):
        same = harness == own
        self.failed += not same
        print(f"{'same' if same else 'DIFFERS':8} {what}: {harness} by the harness, {own} by {self.other}")

    def end(self):
        sys.exit(1 if self.failed else 0)
