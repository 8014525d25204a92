"""Times training steps of the host and of PyTorch with transformers and peft, in turn, on the same work.

    python3 tests/peft/speed.py

builds the host's benchmark, makes a random model in the shape of SmolLM2-135M with a LoRA adapter of rank 16 on all
seven projections, and runs each side in a process of its own, round after round, at 4x128 and 8x256, plainly and with
the KL to the reference. Half of each sequence is its answer. It prints a table of medians with their spread, the ratios,
and peak memory; every step's loss must agree between the two sides, or the work was not the same. A measurement beside
which others used more than a twentieth of the machine, or the hypervisor took that, is made again, and after three such
nothing is reported.

PyTorch gets its best: sdpa, equal lengths without padding, the head on answer rows alone, no mask. `--compile` lets
torch.compile try as well (it needs a C++ compiler and minutes). Where torch, transformers and peft are missing they are
installed into a virtual environment in the cache folder.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import venv

import quiet

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHAPES = [("4x128", 4), ("8x256", 3)]
OBJECTIVES = ["sft", "sft+kl"]
RANK, ALPHA, LEARNING_RATE = 16, 32, 2e-4
# Of a measurement, until one is quiet.
ATTEMPTS = 3
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SMOLLM2 = dict(
    vocab_size=49152,
    hidden_size=576,
    intermediate_size=1536,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    max_position_embeddings=8192,
    rope_theta=100000.0,
    tie_word_embeddings=True,
    bos_token_id=1,
    eos_token_id=2,
    initializer_range=0.04,
)
# Largest relative difference of two losses that still count as the same. The weights of bf16 have 8 bits.
TOLERANCE = {"f32": 1e-4, "bf16": 1e-2}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="processes per side and measurement")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shapes", nargs="*", default=[shape for shape, _ in SHAPES])
    parser.add_argument("--weights", choices=["f32", "bf16"], default="f32", help="of the host; PyTorch keeps f32")
    parser.add_argument("--torch-weights", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--compile", action="store_true", help="also try torch.compile, and take the faster")
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path(tempfile.gettempdir()) / "host-speed")
    parser.add_argument("--bench", type=pathlib.Path, help="the host's benchmark, if it is built already")
    parser.add_argument("--json", type=pathlib.Path, help="also write every measurement")
    # What the processes that this script starts are told.
    parser.add_argument("--make", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    return parser.parse_args()


def python_with_peft(cache):
    """A Python that has torch, transformers and peft: this one, or that of an environment made for it."""
    needed = "import torch, transformers, peft"
    own = cache / "venv"
    for python in [sys.executable, str(own / "bin/python")]:
        if pathlib.Path(python).exists() and subprocess.run([python, "-c", needed], capture_output=True).returncode == 0:
            return python
    print(f"installing torch, transformers and peft into {own}", file=sys.stderr)
    venv.create(own, with_pip=True)
    python = str(own / "bin/python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "torch", "transformers", "peft"], check=True)
    return python


def built_bench():
    command = ["cargo", "bench", "--workspace", "--bench", "step", "--no-run", "--message-format", "json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    messages = map(json.loads, done.stdout.splitlines())
    names = [m["executable"] for m in messages if m.get("reason") == "compiler-artifact" and m["target"]["name"] == "step"]
    return next(name for name in names if name)


def make(folder):
    """Writes the model, a tokenizer that nothing reads, and a fresh adapter."""
    import peft
    import torch
    import transformers
    from tokenizers import Tokenizer, models

    torch.manual_seed(7)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMOLLM2))
    model.save_pretrained(folder / "model")
    Tokenizer(models.WordLevel({"t0": 0, "t1": 1, "t2": 2}, unk_token="t0")).save(str(folder / "model/tokenizer.json"))
    config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=TARGETS, task_type="CAUSAL_LM")
    peft.get_peft_model(model, config).save_pretrained(folder / "adapter")


def measure(folder, shape, objective, threads, weights, steps, compiled):
    """PyTorch's side, as one line of JSON."""
    import peft
    import torch
    import torch.nn.functional as F
    import transformers

    torch.set_num_threads(threads)
    transformers.utils.logging.disable_progress_bar()
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[weights]
    load = transformers.AutoModelForCausalLM.from_pretrained
    base = load(folder / "model", dtype=dtype, attn_implementation="sdpa")
    model = peft.PeftModel.from_pretrained(base, folder / "adapter", is_trainable=True)
    model.config.use_cache = False
    decoder, head = model.base_model.model.model, model.base_model.model.lm_head
    forward = torch.compile(decoder) if compiled else decoder
    sequences, length = map(int, shape.split("x"))
    tokens = torch.tensor([[(s * 7919 + t * 104729) % SMOLLM2["vocab_size"] for t in range(length)] for s in range(sequences)])
    answer = length // 2
    labels = tokens[:, answer:].reshape(-1)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.0)

    def log_probs():
        hidden = forward(input_ids=tokens).last_hidden_state[:, answer - 1 : -1]
        return F.log_softmax(head(hidden.reshape(-1, hidden.shape[-1])).float(), dim=-1)

    found = dict(loss=[], seconds=[], busy_seconds=[])
    for step in range(steps):
        started, busy = time.perf_counter(), time.process_time()
        optimizer.zero_grad(set_to_none=True)
        reference = None
        if objective == "sft+kl":
            with torch.no_grad(), model.disable_adapter():
                reference = log_probs()
        current = log_probs()
        loss = F.nll_loss(current, labels)
        if reference is not None:
            loss = loss + F.kl_div(current, reference, log_target=True, reduction="batchmean")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        found["loss"].append(loss.item())
        if step > 0:
            found["seconds"].append(time.perf_counter() - started)
            found["busy_seconds"].append((time.process_time() - busy) / threads)
    status = pathlib.Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    print(json.dumps(found | dict(peak_mib=peak // 1024)))


class Sides:
    """Runs one measurement of either side in a process of its own."""

    def __init__(self, options, folder, python):
        self.options, self.folder, self.python = options, folder, python
        self.bench = options.bench or built_bench()
        self.compiled = False
        self.environment = os.environ | {
            "RAYON_NUM_THREADS": str(options.threads),
            "OMP_NUM_THREADS": str(options.threads),
            "HF_HUB_OFFLINE": "1",
            "PYTHONWARNINGS": "ignore",
        }

    def run(self, command):
        command = list(map(str, command))
        for _ in range(ATTEMPTS):
            if not quiet.wait():
                break
            with quiet.Quiet() as measured:
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=self.environment)
            if done.returncode != 0:
                sys.exit(f"error: {command[0]} failed; what it said is above")
            if measured.is_quiet:
                return json.loads(done.stdout.splitlines()[-1])
            print(f"again: others used {measured.foreign:.0%} of the machine meanwhile", file=sys.stderr)
        sys.exit("error: the machine is not quiet, so nothing can be measured; stop what else runs on it and repeat")

    def host(self, shape, objective, steps):
        command = [self.bench, shape, "--steps", steps, "--model", self.folder / "model", "--adapter", self.folder / "adapter"]
        command += ["--kl"] * (objective == "sft+kl") + ["--bf16"] * (self.options.weights == "bf16")
        return self.run(command)

    def pytorch(self, shape, objective, steps):
        work = dict(folder=str(self.folder), shape=shape, objective=objective, threads=self.options.threads)
        work |= dict(weights=self.options.torch_weights, steps=steps, compiled=self.compiled)
        return self.run([self.python, __file__, "--measure", json.dumps(work)])

    def choose_variant(self):
        """Compiled, if it was asked for and is faster."""
        eager = self.pytorch("4x128", "sft", 4)
        self.compiled = True
        compiled = self.pytorch("4x128", "sft", 4)
        self.compiled = min(compiled["busy_seconds"]) < min(eager["busy_seconds"])
        print(f"torch.compile {'is used' if self.compiled else 'was slower than eager'}", file=sys.stderr)


def check_same_work(host, pytorch, tolerance, name):
    """The first loss is that of the model, the others of what the steps before did to it."""
    for step, (ours, theirs) in enumerate(zip(host["loss"], pytorch["loss"])):
        if abs(ours - theirs) > tolerance * abs(theirs):
            sys.exit(f"error: {name}: the loss of step {step} is {ours} here and {theirs} in PyTorch; not the same work")


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def row(name, ours, theirs):
    """One line of the table, from the measurements of all rounds."""
    cells = [name]
    for measure in ["seconds", "busy_seconds"]:
        host, pytorch = ([v for one in side for v in one[measure]] for side in (ours, theirs))
        if measure == "seconds":
            cells += [spread(host), spread(pytorch)]
        rounds = [statistics.median(p[measure]) / statistics.median(h[measure]) for h, p in zip(ours, theirs)]
        cells.append(f"{statistics.median(pytorch) / statistics.median(host):.2f}x ({min(rounds):.2f}-{max(rounds):.2f})")
    host, pytorch = (max(one["peak_mib"] for one in side) for side in (ours, theirs))
    return cells + [f"{host} MiB", f"{pytorch} MiB", f"{host / pytorch:.0%}"]


def main():
    options = arguments()
    if options.make:
        return make(options.make)
    if options.measure:
        work = json.loads(options.measure)
        return measure(pathlib.Path(work.pop("folder")), **work)
    options.cache.mkdir(parents=True, exist_ok=True)
    python = python_with_peft(options.cache)
    with tempfile.TemporaryDirectory(dir=options.cache) as folder:
        folder = pathlib.Path(folder)
        subprocess.run([python, __file__, "--make", folder], check=True)
        sides = Sides(options, folder, python)
        if options.compile:
            sides.choose_variant()
        found = {}
        for number in range(options.rounds):
            for shape, steps in SHAPES:
                for objective in OBJECTIVES:
                    if shape not in options.shapes:
                        continue
                    ours, theirs = found.setdefault((shape, objective), ([], []))
                    ours.append(sides.host(shape, objective, steps))
                    theirs.append(sides.pytorch(shape, objective, steps))
                    name = f"{shape} {objective}"
                    tolerance = max(TOLERANCE[options.weights], TOLERANCE[options.torch_weights])
                    check_same_work(ours[-1], theirs[-1], tolerance, name)
                    print(f"round {number + 1}: {name} measured", file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps({" ".join(key): value for key, value in found.items()}))
    print("| step | host, s | PyTorch, s | speed | speed by processor time | host | PyTorch | memory |")
    print("|---|---|---|---|---|---|---|---|")
    for (shape, objective), (ours, theirs) in found.items():
        print("| " + " | ".join(row(f"{shape} {objective}", ours, theirs)) + " |")


if __name__ == "__main__":
    main()
