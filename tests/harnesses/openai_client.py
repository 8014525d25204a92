"""The package `openai` asks `host serve`: whole answers, answers in pieces, log-probabilities, and what is refused.

    python openai_client.py [arguments of host that name a model, such as --run DIR]
"""

import asyncio
import importlib.metadata as metadata
import subprocess
import sys
import tempfile

import common

common.need("openai")

import openai  # noqa: E402

COUNT = int(common.os.environ.get("COUNT", "40"))


def generated(model, prompts):
    """What `host generate` says."""
    command = [common.program(), "generate", "--json", "--quiet", "--max-new-tokens", str(common.TOKENS), *model, *prompts]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return [common.json.loads(line)["answer"] for line in done.stdout.splitlines()]


async def chats(server, prompts):
    """Each prompt as a whole and in pieces, all at once."""
    client = openai.AsyncOpenAI(base_url=server.url, api_key="none", max_retries=0)

    async def whole(prompt):
        reply = await client.chat.completions.create(**chat(server, prompt))
        return reply.choices[0].message.content

    async def pieces(prompt):
        text, ends, usage = "", [], None
        asked = {**chat(server, prompt), "stream": True, "stream_options": {"include_usage": True}}
        async for event in await client.chat.completions.create(**asked):
            usage = event.usage or usage
            for choice in event.choices:
                text += choice.delta.content or ""
                ends += [choice.finish_reason] if choice.finish_reason else []
        assert len(ends) == 1 and usage.completion_tokens > 0
        return text

    async with client:
        return (
            await asyncio.gather(*map(whole, prompts)),
            await asyncio.gather(*map(pieces, prompts)),
        )


def chat(server, prompt):
    return {
        "model": server.model, "messages": [{"role": "user", "content": prompt}],
        "temperature": 0, "max_tokens": common.TOKENS,
    }


def scores(client, server, prompt):
    """The largest difference between the log-probabilities of an answer and those of the same tokens in a prompt."""
    reply = client.chat.completions.create(**chat(server, prompt), logprobs=True, top_logprobs=2).choices[0]
    said = reply.logprobs.content
    assert "".join(one.token for one in said) == reply.message.content
    assert all(one.logprob == one.top_logprobs[0].logprob for one in said)
    text = client.completions.create(
        model=server.model, prompt="The hotel was", max_tokens=8, temperature=0, logprobs=1,
    ).choices[0]
    again = client.completions.create(
        model=server.model, prompt="The hotel was" + text.text, max_tokens=1, temperature=0, logprobs=1, echo=True,
    ).choices[0]
    count = len(text.logprobs.tokens)
    both = zip(text.logprobs.token_logprobs, again.logprobs.token_logprobs[-count - 1 : -1])
    return max(abs(one - other) for one, other in both)


def refused(client, server):
    """The kinds of exceptions that the package makes of what is refused."""
    asked = chat(server, "Hello?")
    found = []
    for change in ({"model": "gpt-9"}, {"n": 0}, {"logit_bias": {"5": 1}}, {"messages": []}):
        try:
            client.chat.completions.create(**{**asked, **change})
            found.append("answered")
        except openai.APIStatusError as error:
            assert error.message and error.type, error
            found.append(type(error).__name__)
    return found


def main():
    model = sys.argv[1:]
    checks = common.Checks("host generate")
    rows = common.rows(common.DATA / "eval_harmful.jsonl")[:COUNT]
    prompts = [row["prompt"] for row in rows]
    own = generated(model, prompts)
    with common.Server(*model) as server:
        whole, pieces = asyncio.run(chats(server, prompts))
        with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
            difference = scores(client, server, prompts[0])
            kinds = refused(client, server)
            names = [one.id for one in client.models.list()]
            context = client.models.retrieve(server.model).max_model_len
    print(f"openai {metadata.version('openai')}, {server.model}")
    count = lambda answers: sum(one == other for one, other in zip(answers, own))
    checks.equal("answers, letter for letter", count(whole), len(own))
    checks.equal("answers in pieces", count(pieces), len(own))
    checks.equal("models", (names, context), ([server.model], server.context))
    checks.equal("refused with", kinds, ["NotFoundError", *["BadRequestError"] * 3])
    print(f"log-probabilities generated and scored differ by at most {difference:.1e}")
    checks.failed += difference > 1e-3
    with tempfile.TemporaryDirectory() as folder:
        key = common.Path(folder) / "key"
        key.write_text("correct-horse-battery\n")
        key.chmod(0o600)
        with common.Server(*model, "--key-file", key) as server:
            statuses = []
            for given in ("another-key", "correct-horse-battery"):
                try:
                    with openai.OpenAI(base_url=server.url, api_key=given, max_retries=0) as client:
                        client.chat.completions.create(**chat(server, "Hello?"))
                    statuses.append("answered")
                except openai.AuthenticationError:
                    statuses.append("AuthenticationError")
            checks.equal("with a wrong key and the right one", statuses, ["AuthenticationError", "answered"])
    checks.end()


main()
