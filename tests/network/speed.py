"""Training over a network: how long steps take and what ranks send, with links of limited rate.

Every rank gets a network namespace, a host name and a link of its own, which `tc` limits in both directions; Open MPI
starts the ranks there as it would on other machines, and all they exchange goes over TCP. Needs root, `ip`, `tc` and a
program built with `--features mpi`:

    python3 tests/network/speed.py --model SmolLM2-135M-Instruct.gguf --ranks 2,4 --rates 10gbit,1gbit

A rank computes with one thread. On a machine with fewer cores than ranks these take turns, so that only the
bytes and the difference to a link without a limit mean something.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "peft"))
import quiet  # noqa: E402

BRIDGE = "hostnet"
NETWORK = "10.77.0."
WORDS = "the quiet river bends around a grey stone mill where children count small boats before supper".split()


def call(*command, **options):
    return subprocess.run([str(part) for part in command], check=True, text=True, capture_output=True, **options).stdout


def namespace(rank):
    return f"hostnet{rank}"


class Network:
    """Namespaces on one bridge, each behind a link of its own."""

    def __init__(self, ranks):
        self.ranks = ranks

    def __enter__(self):
        self.remove()
        try:
            call("ip", "link", "add", BRIDGE, "type", "bridge")
            call("ip", "link", "set", BRIDGE, "up")
            for rank in range(self.ranks):
                name, outer = namespace(rank), f"{BRIDGE}{rank}"
                call("ip", "netns", "add", name)
                call("ip", "link", "add", outer, "type", "veth", "peer", "name", "link0", "netns", name)
                call("ip", "link", "set", outer, "master", BRIDGE, "up")
                inside = ("ip", "-n", name)
                call(*inside, "address", "add", f"{NETWORK}{rank + 1}/24", "dev", "link0")
                call(*inside, "link", "set", "link0", "up")
                call(*inside, "link", "set", "lo", "up")
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *error):
        self.remove()

    def remove(self):
        for rank in range(64):
            if subprocess.run(["ip", "netns", "delete", namespace(rank)], capture_output=True).returncode:
                break
        subprocess.run(["ip", "link", "delete", BRIDGE], capture_output=True)

    def limit(self, rate):
        """Of what a rank sends and of what it gets; none is as fast as the machine copies."""
        for rank in range(self.ranks):
            for place in (["-n", namespace(rank)], []):
                device = "link0" if place else f"{BRIDGE}{rank}"
                subprocess.run(["tc", *place, "qdisc", "delete", "dev", device, "root"], capture_output=True)
                if rate:
                    shape = ["tbf", "rate", rate, "burst", "1mb", "latency", "50ms"]
                    call("tc", *place, "qdisc", "add", "dev", device, "root", *shape)

    def sent(self):
        """Bytes that each rank has sent so far."""
        read = ("cat", "/sys/class/net/link0/statistics/tx_bytes")
        return [int(call("ip", "netns", "exec", namespace(rank), *read)) for rank in range(self.ranks)]


def agent(folder):
    """What mpirun starts in the place of ssh: a machine is a namespace with a host name."""
    path = folder / "agent"
    path.write_text(
        "#!/bin/sh\n"
        f'rank=$((${{1#{NETWORK}}} - 1)); shift\n'
        'exec ip netns exec "hostnet$rank" unshare --uts sh -c "hostname hostnet$rank; $*"\n'
    )
    path.chmod(0o755)
    return path


def rows(path, count, words):
    draw = random.Random(7)
    with open(path, "w") as file:
        for _ in range(count):
            text = [" ".join(draw.choices(WORDS, k=words)) for _ in range(2)]
            file.write(json.dumps({"prompt": text[0], "answer": text[1]}) + "\n")


def train(options, folder, name, ranks, steps):
    output = folder / name
    command = [options.host, "train", "--quiet", "--data", folder / "rows.jsonl", "--output", output]
    command += ["--policy", f"builtin:{options.policy}", "--set", f"train.max_steps={steps}"]
    command += ["--set", f"train.batch={options.batch}", "--set", "train.reference_cache_disk_mib=0"]
    command += ["--set", f"train.micro_batch={options.batch // ranks}"]
    command += ["--model", options.model] if options.model else []
    if ranks > 1:
        hosts = ",".join(f"{NETWORK}{rank + 1}:1" for rank in range(ranks))
        launch = ["ip", "netns", "exec", namespace(0), "unshare", "--uts", "sh", "-c", 'hostname hostnet0; exec "$@"', "-"]
        launch += ["mpirun", "-q", "--host", hosts, "--bind-to", "none", "-x", "RAYON_NUM_THREADS"]
        launch += ["--mca", "plm_rsh_agent", agent(folder), "--mca", "btl", "tcp,self", "--mca", "pml", "ob1"]
        launch += ["--mca", "btl_tcp_if_include", "link0", "--mca", "oob_tcp_if_include", "link0"]
        command = launch + command
    environment = dict(os.environ, RAYON_NUM_THREADS="1", OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    try:
        call(*command, env=environment, cwd=folder)
    except subprocess.CalledProcessError as error:
        problem = error.stderr.strip() or "no message"
        sys.exit(f"{name}: {problem.splitlines()[0]}")
    with open(output / "metrics.jsonl") as file:
        return [json.loads(line)["seconds"] for line in file]


def parameters(run):
    """Values of the adapter, by the header of its file."""
    with open(run / "adapter" / "adapter_model.safetensors", "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    shapes = [tensor["shape"] for name, tensor in header.items() if name != "__metadata__"]
    return sum(shape[0] * (shape[1] if len(shape) > 1 else 1) for shape in shapes)


def show(times):
    return f"{statistics.median(times):.2f} ({min(times):.2f}-{max(times):.2f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="target/release/host", help="built with --features mpi")
    parser.add_argument("--model", help="default: the embedded one")
    parser.add_argument("--policy", default="anchored")
    parser.add_argument("--ranks", default="2,4")
    parser.add_argument("--rates", default="10gbit,1gbit", help="of every link, as tc writes them")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--words", type=int, default=60, help="of a prompt, and of its answer")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--loaded", action="store_true", help="measure even if the machine does other work")
    options = parser.parse_args()
    options.host = pathlib.Path(options.host).resolve()
    options.model = options.model and pathlib.Path(options.model).resolve()
    missing = [tool for tool in ("ip", "tc", "unshare", "mpirun") if not shutil.which(tool)]
    if missing or os.geteuid() != 0:
        sys.exit(f"not found: {', '.join(missing)}" if missing else "namespaces are made by root: run it as root")
    if not options.loaded and not quiet.wait():
        sys.exit("others use the machine: measure when it is idle, or pass --loaded")
    print("| ranks | link | step, s (fastest to slowest) | speed-up | sent by a rank in a step | of a ring |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        rows(folder / "rows.jsonl", options.batch * options.steps, options.words)
        alone = train(options, folder, "alone", 1, options.steps)[1:]
        print(f"| 1 | | {show(alone)} | 1 | 0 | |", flush=True)
        values = parameters(folder / "alone")
        for ranks in map(int, options.ranks.split(",")):
            with Network(ranks) as network:
                for rate in [None, *options.rates.split(",")]:
                    network.limit(rate)
                    name = f"{ranks}-{rate}"
                    counted = []
                    for steps in (2, options.steps):
                        before = network.sent()
                        times = train(options, folder, f"{name}-{steps}", ranks, steps)[1:]
                        counted.append(max(after - first for after, first in zip(network.sent(), before)))
                    sent = (counted[1] - counted[0]) / (options.steps - 2)
                    bound = 2 * (ranks - 1) / ranks * 4 * values
                    speed = statistics.median(alone) / statistics.median(times)
                    row = f"| {ranks} | {rate or 'not limited'} | {show(times)} | {speed:.2f} "
                    print(row + f"| {sent / 1e6:.1f} MB | {sent / bound:.2f}x |", flush=True)


if __name__ == "__main__":
    main()
