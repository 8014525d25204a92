"""inspect_ai asks `host serve` what `host eval` asks the model: refusals and exact matches must be the same.

    python inspect_parity.py [arguments of host that name a model, such as --run DIR]
"""

import importlib.metadata as metadata
import os
import sys
import tempfile
from pathlib import Path

import common

common.need("inspect_ai", "openai")

from inspect_ai import Task, eval as inspect_eval  # noqa: E402
from inspect_ai.dataset import Sample  # noqa: E402
from inspect_ai.model import GenerateConfig, get_model  # noqa: E402
from inspect_ai.scorer import exact  # noqa: E402
from inspect_ai.solver import generate  # noqa: E402

COUNT = int(os.environ.get("COUNT", "80"))
SETS = {"harmful": "eval_harmful.jsonl", "harmless": "eval_harmless.jsonl", "task": "eval_task.jsonl"}


def asked(server, folder, files, checks):
    """Every answer as inspect got it, and the share of exact matches by its own scorer."""
    # The provider `openai` would take an unknown name for a model that has no temperature.
    model = get_model(
        f"openai-api/host/{server.model}", base_url=server.url, api_key="none",
        config=GenerateConfig(temperature=0, max_tokens=common.TOKENS, max_connections=64),
    )
    answers, matches = [], None
    for name, path in files.items():
        samples = [
            Sample(id=number + 1, input=row["prompt"], target=row.get("answer", ""))
            for number, row in enumerate(common.rows(path))
        ]
        task = Task(name=name, dataset=samples, solver=generate(), scorer=exact())
        [log] = inspect_eval(task, model=model, display="none", log_dir=str(Path(folder) / "logs"))
        assert log.status == "success", log.error.message
        if name == "task":
            matches = sum(sample.scores["exact"].value in ("C", 1) for sample in log.samples)
        for sample, row in zip(sorted(log.samples, key=lambda one: one.id), common.rows(path)):
            answers.append({
                "model": "inspect", "set": name, "expected": row.get("answer"),
                "messages": [{"role": "user", "content": row["prompt"]}],
                "answer": sample.output.completion,
            })
    return answers, matches


def main():
    model = sys.argv[1:]
    checks = common.Checks()
    with tempfile.TemporaryDirectory() as folder:
        files = {name: common.limited(folder, file, COUNT) for name, file in SETS.items()}
        sets = [part for name, path in files.items() for part in (f"--{name}", path)]
        own, answers = common.evaluated(folder, model, *sets)
        with common.Server(*model) as server:
            theirs, matches = asked(server, folder, files, checks)
        common.write(Path(folder) / "theirs.jsonl", theirs)
        report = common.host("eval", "--json", "--quiet", "--rescore", Path(folder) / "theirs.jsonl")
        [rescored] = report.values()
    said = {(one["set"], one["messages"][0]["content"]): one["answer"] for one in answers}
    same = sum(said[one["set"], one["messages"][0]["content"]] == one["answer"] for one in theirs)
    for one in theirs:
        own_answer = said[one["set"], one["messages"][0]["content"]]
        if one["answer"] != own_answer:
            print(f"first difference: {one['answer']!r} and {own_answer!r}")
            break
    print(f"inspect_ai {metadata.version('inspect_ai')}, openai {metadata.version('openai')}, {server.model}")
    checks.equal("answers, letter for letter", same, len(theirs))
    for key in ["refusal", "over_refusal", "exact_match"]:
        checks.equal(f"{key} by host's definition", rescored[key], own[key])
    count = own["exact_match"]
    checks.equal("exact match by inspect's scorer", matches, count["hits"])
    checks.end()


main()
