"""Speed, memory and utilisation of training steps beside PyTorch and peft on the same device.

    cargo build --release --workspace --examples --features host/cuda
    python3 tests/peft/device.py --device cuda

Both sides train the same shape with random weights, rank 16 on all seven projections, the second half of every sequence
as the answer, and run alternately, each in a process of its own. One table goes to stdout. Memory is what nvidia-smi
shows above what was in use before (on the CPU the process's peak), utilisation its mean over the run, loading included.

    python3 tests/peft/device.py --device cpu --shape tiny      tries the script itself

Without torch, transformers and peft it prints our side alone.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# vocabulary, hidden, intermediate, layers, heads, key heads, tied; as host/trainer/examples/device.rs has them.
SHAPES = {
    "tiny": (512, 64, 160, 2, 4, 2, True),
    "smollm2": (49152, 576, 1536, 30, 9, 3, True),
    "llama-8b": (128256, 4096, 14336, 32, 32, 8, False),
}
# shape, sequences, length, activation checkpointing
RUNS = {
    "tiny": [("tiny", 4, 64, False), ("tiny", 4, 64, True)],
    "smollm2": [("smollm2", 8, 256, False), ("smollm2", 16, 1024, True)],
    "llama-8b": [("llama-8b", 2, 1024, False), ("llama-8b", 4, 1024, True)],
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda", help="cpu, cuda or cuda:N")
    parser.add_argument("--shape", choices=SHAPES, help="only this one; smollm2 and llama-8b if not given")
    parser.add_argument("--weights", default="bf16", choices=["bf16", "f32"])
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=3, help="how often the two sides take turns")
    parser.add_argument("--host", default=str(ROOT / "target/release/examples/device"), help="our program")
    # How this script calls itself for the side of PyTorch.
    parser.add_argument("--torch", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--sequences", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--length", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--kl", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--checkpoint", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def torch_steps(options):
    """The seconds and losses of steps after the first."""
    import time

    import peft
    import torch
    import transformers

    vocabulary, hidden, intermediate, layers, heads, key_heads, tied = SHAPES[options.shape]
    config = transformers.LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        tie_word_embeddings=tied,
        max_position_embeddings=131072,
        use_cache=False,
    )
    dtype = {"bf16": torch.bfloat16, "f32": torch.float32}[options.weights]
    torch.manual_seed(1)
    with torch.device(options.device):
        base = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype)
    lora = peft.LoraConfig(r=16, lora_alpha=32, target_modules=TARGETS, task_type="CAUSAL_LM")
    model = peft.get_peft_model(base, lora).train()
    if options.checkpoint:
        model.enable_input_require_grads()
        base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.0)
    rows, length = options.sequences, options.length
    tokens = torch.tensor([[(s * 7919 + t * 104729) % vocabulary for t in range(length)] for s in range(rows)])
    tokens = tokens.to(options.device)
    labels = tokens[:, length // 2 :].reshape(-1)

    def answer_logits():
        # Only the rows that predict an answer go through the head, as on our side.
        states = base.model(input_ids=tokens).last_hidden_state[:, length // 2 - 1 : -1]
        return base.lm_head(states.reshape(-1, hidden)).float()

    def step():
        logits = answer_logits()
        loss = torch.nn.functional.cross_entropy(logits, labels)
        if options.kl:
            with torch.no_grad(), model.disable_adapter():
                reference = answer_logits().log_softmax(-1)
            current = logits.log_softmax(-1)
            loss = loss + torch.nn.functional.kl_div(current, reference, log_target=True, reduction="batchmean")
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    seconds, losses = [], []
    for number in range(options.steps + 1):
        start = time.perf_counter()
        loss = step()
        if options.device != "cpu":
            torch.cuda.synchronize()
        if number:
            seconds.append(time.perf_counter() - start)
            losses.append(loss)
    print(json.dumps({"seconds": seconds, "losses": losses}))


class Watch:
    """Samples memory (MiB) and utilisation (%) of a CUDA device while a process runs."""

    def __init__(self, device):
        self.index = device.partition(":")[2] or "0"
        self.before = self.query()[0]
        self.samples = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def query(self):
        fields = ["--query-gpu=memory.used,utilization.gpu", "--format=csv,noheader,nounits"]
        line = subprocess.run(["nvidia-smi", f"--id={self.index}", *fields], check=True, capture_output=True, text=True)
        return [float(part) for part in line.stdout.strip().split(",")]

    def run(self):
        while not self.over.wait(0.05):
            self.samples.append(self.query())

    def end(self):
        self.over.set()
        self.thread.join()
        if not self.samples:
            return 0.0, None
        memory = max(sample[0] for sample in self.samples) - self.before
        return memory, statistics.mean(sample[1] for sample in self.samples)


def measure(command, device):
    """Seconds and losses per step, memory in MiB, utilisation in percent (none on the CPU)."""
    watch = None if device == "cpu" else Watch(device)
    # The last line on stderr is the error, not the end of a backtrace.
    environment = {**os.environ, "RUST_BACKTRACE": "0"}
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)
    errors = []
    drain = threading.Thread(target=lambda: errors.append(process.stderr.read()))
    drain.start()
    output = process.stdout.read()
    drain.join()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    memory, used = watch.end() if watch else (usage.ru_maxrss / 1024, None)
    if process.returncode != 0:
        last = "".join(errors).strip().splitlines()[-1:] or ["no message"]
        return {"failed": f"{last[0]} (exit code {process.returncode})"}
    return {**json.loads(output.strip().splitlines()[-1]), "memory": memory, "used": used}


def compare(options):
    sides = {"host": [options.host]}
    try:
        import peft  # noqa: F401
        import torch  # noqa: F401
        import transformers  # noqa: F401

        sides["PyTorch + peft"] = [sys.executable, __file__, "--torch"]
    except ImportError as missing:
        print(f"our side alone: {missing}; pip install torch transformers peft", file=sys.stderr)
    print(f"| shape, {options.weights} | step | side | tokens/s | spread | memory MiB | utilisation |")
    print("|---|---|---|---|---|---|---|")
    failed = False
    for shape in [options.shape] if options.shape else ["smollm2", "llama-8b"]:
        for _, sequences, length, checkpoint in RUNS[shape]:
            for kl in [False, True]:
                common = ["--device", options.device, "--shape", shape, "--weights", options.weights]
                common += ["--sequences", str(sequences), "--length", str(length), "--steps", str(options.steps)]
                common += ["--kl"] * kl + ["--checkpoint"] * checkpoint
                found = {side: [] for side in sides}
                for _ in range(options.repeat):
                    for side, command in sides.items():
                        found[side].append(measure([*command, *common], options.device))
                name = ("SFT+KL" if kl else "SFT") + (", checkpointing" if checkpoint else "")
                for side, runs in found.items():
                    failed |= row(f"{shape}, {sequences}x{length}", name, side, runs, sequences * length)
    sys.exit(failed)


def row(shape, step, side, runs, tokens):
    """Prints the median over all steps of all turns, and their range. True if a run failed."""
    for run in runs:
        if "failed" in run:
            print(f"| {shape} | {step} | {side} | {run['failed']} | | | |", flush=True)
            return True
    rates = sorted(tokens / seconds for run in runs for seconds in run["seconds"])
    memory = max(run["memory"] for run in runs)
    used = [run["used"] for run in runs if run["used"] is not None]
    used = f"{statistics.mean(used):.0f}%" if used else ""
    middle, spread = statistics.median(rates), f"{rates[0]:.0f}-{rates[-1]:.0f}"
    print(f"| {shape} | {step} | {side} | {middle:.0f} | {spread} | {memory:.0f} | {used} |", flush=True)
    return False


if __name__ == "__main__":
    chosen = arguments()
    if chosen.torch:
        torch_steps(chosen)
    else:
        compare(chosen)
