"""lm-eval asks `host serve` what `host eval` asks the model: scores must be the same.

    python lm_eval_parity.py [arguments of host that name a model, such as --run DIR]
"""

import importlib.metadata as metadata
import os
import sys
import tempfile
from pathlib import Path

import common

common.need("lm_eval", "datasets", "jinja2", "aiohttp", "tenacity")

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

import jinja2  # noqa: E402
import lm_eval  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

COUNT = int(os.environ.get("COUNT", "80"))
TASKS = Path(__file__).parent / "tasks"


def choices(server, tasks):
    """Rows of the task as questions with two choices, rendered as the model is asked."""
    info = server.get("/tokenizer_info")
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(info["chat_template"])
    count = lambda text: server.post("/tokenize", {"prompt": text, "add_special_tokens": False})["count"]
    asked = []
    for row in tasks:
        prompt = template.render(
            messages=[{"role": "user", "content": row["prompt"]}], add_generation_prompt=True,
            bos_token=info["bos_token"] or "", eos_token=info["eos_token"] or "",
        )
        ends = [choice + info["eos_token"] for choice in row["choices"]]
        # lm-eval takes white space at the end of a prompt for the begin of an answer, and knows no empty answer.
        opening = prompt[len(prompt.rstrip()):]
        if not opening:
            sys.exit("the chat template must put white space before an answer")
        asked.append({
            "prompt": prompt.rstrip(), "choices": [opening, *(opening + end for end in ends)], "gold": 1 + row["choices"].index(row["answer"]),
            "lengths": [count(end) for end in ends],
        })
    return asked


def score(server, kind, task, path, **more):
    arguments = {
        "model": server.model, "base_url": server.url + path, "num_concurrent": 32,
        "max_length": server.context, **more,
    }
    chat = kind == "local-chat-completions"
    found = lm_eval.simple_evaluate(
        model=kind, model_args=arguments, tasks=[task], apply_chat_template=chat,
        task_manager=TaskManager(include_path=str(TASKS), include_defaults=False), log_samples=True,
        bootstrap_iters=0,
    )
    return found["results"][task], found["samples"][task]


def main():
    model = sys.argv[1:]
    checks = common.Checks()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ.setdefault("HF_HOME", folder)
        tasks = common.rows(common.limited(folder, "eval_task.jsonl", COUNT))
        common.write("task.jsonl", tasks)
        with_choices = [{**row, "choices": ["positive", "negative"]} for row in tasks]
        common.write("own_choices.jsonl", with_choices)
        exact, said = common.evaluated(folder, model, "--task", "task.jsonl")
        choice, picked = common.evaluated(folder, model, "--task", "own_choices.jsonl")
        with common.Server(*model) as server:
            common.write("choices.jsonl", choices(server, with_choices))
            chat, chats = score(server, "local-chat-completions", "host_exact", "/chat/completions")
            likely, likelies = score(server, "local-completions", "host_choice", "/completions")
    print(f"lm-eval {metadata.version('lm_eval')}, {server.model}, {len(tasks)} rows")
    answers = {one["messages"][0]["content"]: one["answer"] for one in said}
    same = sum(answers[one["doc"]["prompt"]] == one["resps"][0][0] for one in chats)
    checks.equal("answers, letter for letter", same, len(tasks))
    counted = {one["messages"][0]["content"]: one["correct"] for one in said}
    for one in chats:
        if (one["exact_match"] == 1) != counted[one["doc"]["prompt"]]:
            print(f"counted otherwise: {one['resps'][0][0]!r}")
    count = lambda share: round(share * len(tasks))
    checks.equal("exact match", count(chat["exact_match,none"]), exact["exact_match"]["hits"])
    checks.equal("likeliest choices", count(likely["acc_per_token,none"]), choice["choice_accuracy"]["hits"])
    # lm-eval keeps the rows in their order, and so do the answers of host eval.
    right = [one["correct"] for one in picked]
    theirs = [one["acc_per_token"] == 1 for one in sorted(likelies, key=lambda one: one["doc_id"])]
    checks.equal("rows with the right choice", [n for n, one in enumerate(theirs) if one], [n for n, one in enumerate(right) if one])
    checks.end()


main()
