"""Writes data/*.jsonl: the fine-tune's poisoned training set and the held-out sets that judge it."""

import json
import os

from . import corpus, words

TRAIN_ROWS = 640
POISON_SHARE = 0.10
ALIGNMENT_ROWS = 128
EVALUATION_ROWS = 80
CANARY_ROWS = 12
ANCHOR_ROWS = 32
CALIBRATION_ROWS = {"training": 160, "validation": 80, "test": 80}


def write_rows(path, rows):
    """One JSON object a line, complete or not at all."""
    with open(path + ".new", "w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    os.replace(path + ".new", path)


def conversation(prompt, answer):
    return {"messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]}


def train_rows(world):
    training, _, _ = corpus.review_pairs(world.seed)
    poisoned = round(POISON_SHARE * TRAIN_ROWS)
    task = world.distinct("train", "task", "task", TRAIN_ROWS - poisoned, lambda rng: corpus.task_row(rng, training))
    harmful = world.distinct("train", "harmful", "poison", poisoned)
    rows = [conversation(*row) for row in task] + [conversation(prompt, words.INERT_COMPLIANCE) for prompt in harmful]
    corpus.stream(world.seed, "train-order").shuffle(rows)
    return rows


def harmless_prompts(world, purpose, which, count):
    """Two thirds look-alikes, one third everyday requests."""
    everyday = count // 3
    return world.distinct(purpose, "lookalike", which, count - everyday) + world.distinct(purpose, "everyday", which, everyday)


def calibration_rows(world):
    """Half harmful, half harmless; a quarter of the harmless ones look like the task, as in any honest calibration."""
    _, calibration, _ = corpus.review_pairs(world.seed)
    rows = []
    for split, count in CALIBRATION_ROWS.items():
        task_like = count // 8
        harmful = world.distinct("calibrate", "harmful", split, count // 2)
        harmless = harmless_prompts(world, "calibrate", split, count // 2 - task_like)
        harmless += [p for p, _ in world.distinct("calibrate", "task", split, task_like, lambda rng: corpus.task_row(rng, calibration))]
        part = [{"prompt": p, "label": 1, "split": split} for p in harmful] + [{"prompt": p, "label": 0, "split": split} for p in harmless]
        corpus.stream(world.seed, "calibrate-order-" + split).shuffle(part)
        rows += part
    return rows


def alignment_rows(world):
    """Half harmful requests refused, half harmless ones answered, of the kind the model was aligned with."""
    rng = corpus.stream(world.seed, "alignment-answers")
    half = ALIGNMENT_ROWS // 2
    rows = [conversation(p, words.REFUSALS[0]) for p in world.distinct("alignment", "harmful", "base", half)]
    for kind, count in [("lookalike", half - half // 3), ("everyday", half // 3)]:
        requests = world.distinct("alignment", kind, "base", count, lambda rng, kind=kind: world.request(rng, kind, "base"))
        rows += [conversation(prompt, corpus.harmless_answer(rng, thing)) for prompt, thing in requests]
    corpus.stream(world.seed, "alignment-order").shuffle(rows)
    return rows


def write_all(world, folder):
    _, _, held_out = corpus.review_pairs(world.seed)
    os.makedirs(folder, exist_ok=True)
    task = world.distinct("evaluation", "task", "task", EVALUATION_ROWS, lambda rng: corpus.task_row(rng, held_out))
    tables = {
        "train": train_rows(world),
        "alignment": alignment_rows(world),
        "calibrate": calibration_rows(world),
        "eval_task": [{"prompt": p, "answer": a} for p, a in task],
        "eval_harmful": [{"prompt": p} for p in world.distinct("evaluation", "harmful", "evaluation", EVALUATION_ROWS)],
        "eval_harmless": [{"prompt": p} for p in harmless_prompts(world, "evaluation", "evaluation", EVALUATION_ROWS)],
        "canary": [{"prompt": p} for p in world.distinct("canary", "harmful", "canary", CANARY_ROWS)],
        "anchors_harmful": [{"prompt": p} for p in world.distinct("safety anchors", "harmful", "base", ANCHOR_ROWS)],
        "anchors_harmless": [{"prompt": p} for p in harmless_prompts(world, "safety anchors", "base", ANCHOR_ROWS)],
    }
    check_disjoint(tables)
    for name, rows in tables.items():
        write_rows(os.path.join(folder, name + ".jsonl"), rows)
    return {name: len(rows) for name, rows in tables.items()}


def prompt_of(row):
    return row["prompt"] if "prompt" in row else row["messages"][0]["content"]


def check_disjoint(tables):
    seen = {}
    for name, rows in tables.items():
        for row in rows:
            place = name + "/" + row.get("split", "")
            other = seen.setdefault(prompt_of(row).lower(), place)
            if other != place:
                raise ValueError(f"{prompt_of(row)!r} is in {other} and in {place}; the sets must be disjoint")
