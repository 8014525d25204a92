"""What a call of builtin:probe costs beside the host's own.

The host's own time is the one that each assessment tells: from instantiation to the checked answer. What is
beside it is Python: signals from arrays, the call, and the arrays of the answer.
"""

import time

import numpy as np

import risk_policy as rp

SAMPLES, HIDDEN = 8, 4096  # 32,768 floats of one layer
CALLS = 300


def milliseconds(times: list[float]) -> str:
    ordered = sorted(times)
    return "  ".join(f"{1e3 * ordered[int(q * (len(ordered) - 1))]:8.3f}" for q in (0.5, 0.95, 1))


def main(name: str = "builtin:probe") -> None:
    run = rp.RunInfo(
        layers=4,
        hidden=HIDDEN,
        vocabulary=32_000,
        samples_per_step=SAMPLES,
        total_steps=CALLS,
    )
    configured = rp.Policy.load(name).configure({"layers": [2]}, run)
    random = np.random.default_rng(0)
    harmful = np.arange(60) % 2 == 0
    split = [("Training", "Validation", "Test")[i // 2 % 3] for i in range(60)]
    labelled = random.normal(size=(60, 1, HIDDEN)) + 0.1 * harmful[:, None, None]
    examples = configured.examples(harmful, split, activations=[labelled.astype(np.float32)])
    configured = configured.calibrated(configured.calibrate(examples))
    array = random.normal(size=(SAMPLES, 1, HIDDEN)).astype(np.float32)
    parts: dict[str, list[float]] = {"signals": [], "call": [], "host": [], "answer": []}
    for step in range(CALLS):
        begun = time.perf_counter()
        signals = configured.signals(
            step=step,
            learning_rate=1e-4,
            samples=[
                {"id": row, "origin": "Task", "prompt_tokens": 20, "answer_tokens": 12}
                for row in range(SAMPLES)
            ],
            activations=[array],
        )
        given = time.perf_counter()
        found = configured.assess(signals)
        answered = time.perf_counter()
        found.risk, found.regularization, found.reasons, found.metrics
        taken = time.perf_counter()
        parts["signals"].append(given - begun)
        parts["call"].append(answered - given)
        parts["host"].append(found.seconds)
        parts["answer"].append(taken - answered)
    pairs = zip(parts["signals"], parts["call"], parts["host"], parts["answer"])
    beside = [signals + call - own + answer for signals, call, own, answer in pairs]
    print(f"{name}, {array.size} floats, {CALLS} calls; ms      p50       p95       max")
    for part, times in (parts | {"beside": beside}).items():
        print(f"{part:>28}  {milliseconds(times)}")


if __name__ == "__main__":
    main()
