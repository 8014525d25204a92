"""Compares conversations as the host renders and trains on them with Python's transformers.

Every conversation of conversations.py, with every template that the installed packages bring and every one of
templates.py, is rendered by `apply_chat_template` and by the host. Compared are the text, the token ids, the assistant
mask of templates with `{% generation %}` blocks, and, of the others, whether the last answer begins where the prompt
of transformers ends. So are the token ids of texts by the folders of folders.py, whose files disagree. A difference fails, unless it is of a known kind; each kind has its reason below.

    cargo build --release -p host-model --example chat_oracle
    python3 tests/transformers/oracle.py [path of chat_oracle] [--show N]

Without transformers it says so and ends with code 77.
"""

import collections
import datetime
import difflib
import importlib.util
import json
import logging
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
try:
    import jinja2
    import tokenizers
    import transformers
    from transformers.utils import chat_template_utils
except ImportError as missing:
    print(f"SKIPPED: {missing}; pip install transformers jinja2")
    sys.exit(77)

from conversations import conversations
from folders import TEXTS, folders
from templates import ENVIRONMENT, STYLES

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
SHOWN = int(sys.argv[sys.argv.index("--show") + 1]) if "--show" in sys.argv else 12
PATHS = [argument for argument in sys.argv[1:] if not argument.startswith("--") and not argument.isdigit()]
HOST = PATHS[0] if PATHS else str(TARGET / "release/examples/chat_oracle")
NOW = datetime.datetime(2026, 3, 5, 14, 7, 9)

KNOWN = {
    "arguments": "transformers prints an object as Python does, or quotes text a second time; the host gives the form that the template writes as JSON",
    "parts": "transformers prints a list of parts, leaves its text out or fails; the host gives the form of content that the template takes",
    "absent": "transformers leaves absent content out, on which the template fails; the host then tries it as null and as empty text",
    "tuples": "Python prints a tuple in other brackets than a list",
    "operator": "the operator % on text, and varargs of macros, are not in minijinja; the host refuses a template that uses them",
    "gaps": "a template marks one answer in several places; the host refuses it instead of learning what stands between",
    "tokens": "text that begins an answer would join the prompt's last token; the host keeps the prompt's tokens as the model is asked with them",
    "thought": "the prompt begins or ends a thought that the template leaves out of its last answer; the host trains on it",
}


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(*NOW.timetuple()[:6])


chat_template_utils.datetime = Clock

SPECIAL = [
    "<s>", "</s>", "<pad>", "<unk>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
    "<start_of_turn>", "<end_of_turn>", "<|start|>", "<|message|>", "<|channel|>", "<|end|>", "<|return|>", "<|call|>",
    "<|User|>", "<|Assistant|>", "<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>", "[INST]", "[/INST]",
]


def tokenizer_of(kind, words):
    """A small tokenizer with merges, of the byte-level kind or of SentencePiece's."""
    model = tokenizers.models.BPE(unk_token=None if kind == "bytes" else "<unk>", byte_fallback=kind != "bytes")
    made = tokenizers.Tokenizer(model)
    if kind == "bytes":
        made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = tokenizers.decoders.ByteLevel()
        alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
        special = SPECIAL
    else:
        made.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
        made.decoder = tokenizers.decoders.Metaspace()
        alphabet = []
        special = SPECIAL + [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=900, special_tokens=special, initial_alphabet=alphabet)
    made.train_from_iterator(words, trainer)
    made.add_tokens(["<think>", "</think>"])
    named = dict(bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>")
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, **named)


def packaged_templates():
    """Name and text of every template that an installed package brings."""
    for package in ["trl", "peft", "vllm", "axolotl", "unsloth"]:
        found = importlib.util.find_spec(package)
        for folder in found.submodule_search_locations or [] if found else []:
            for path in sorted(pathlib.Path(folder).rglob("*.jinja")):
                yield f"{package}/{path.stem}", path.read_text()


def chats():
    for name, messages, others in conversations():
        tools, documents = others.get("tools"), others.get("documents")
        kwargs = {key: value for key, value in others.items() if key not in ("tools", "documents")}
        prompt = messages[-1]["role"] != "assistant"
        yield name, dict(messages=messages, tools=tools, documents=documents, kwargs=kwargs, prompt=prompt)


def theirs(tokenizer, template, chat, **changed):
    chat = {**chat, **changed}
    arguments = dict(tools=chat["tools"], documents=chat["documents"], chat_template=template, **chat["kwargs"])
    marked = "{%" in template and "generation" in template and not chat["prompt"]
    try:
        text = tokenizer.apply_chat_template(chat["messages"], tokenize=False, add_generation_prompt=chat["prompt"], **arguments)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        mask = None
        if marked and chat_template_utils.re.search(r"\{\%[-+]?\s*generation\s*[-+]?\%\}", template):
            out = tokenizer.apply_chat_template(chat["messages"], return_dict=True, return_assistant_tokens_mask=True, **arguments)
            assert out["input_ids"] == ids
            mask = out["assistant_masks"]
        return dict(text=text, ids=ids, mask=mask)
    except (jinja2.TemplateError, TypeError, AttributeError, KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        return dict(error=f"{type(error).__name__}: {error}")


def ours(requests):
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    done = subprocess.run([HOST], input=lines, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"FAILED: chat_oracle: {done.stderr.strip()}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def flat(text):
    return text.replace("(", "[").replace(",)", "]").replace(")", "]")


def known(template, chat, host, other):
    """Why texts differ, if the reason is a known one."""
    messages = chat["messages"]
    if "text" in host and "text" in other and flat(host["text"]) == flat(other["text"]):
        return "tuples"
    arguments = [c["function"]["arguments"] for m in messages for c in m.get("tool_calls", [])]
    text = other.get("text", "")
    def words(content):
        return content if isinstance(content, str) else "".join(part["text"] for part in content or [])

    said = [words(m.get("content")).strip() for m in messages if words(m.get("content")).strip()]
    if any(isinstance(m.get("content"), list) for m in messages) and ("'type':" in text or "error" in other):
        return "parts"
    # The template takes a list of parts, and was given text.
    if "str object" in other.get("error", "") and "text" in host and all(words in host["text"] for words in said):
        return "parts"
    count = lambda text: sum(text.count(words) for words in said)
    if "text" in host and "text" in other and not all(words in text for words in said) and count(host["text"]) > count(text):
        return "parts"
    if arguments and ("error" in other or '\\"start\\"' in text or "{'start'" in text):
        return "absent" if "error" in other and any("content" not in m for m in messages) else "arguments"
    if "error" in other and any("content" not in m for m in messages):
        return "absent"
    return None


def mask_of(host):
    mask = [0] * len(host["tokens"])
    for answer in host["answers"]:
        mask[answer["start"] : answer["end"]] = [1] * (answer["end"] - answer["start"])
    return mask


def compare(tokenizer, template, chat, host):
    """What was compared, and the first thing that differs, as (what, known reason or none, text)."""
    other = theirs(tokenizer, template, chat)
    if "error" in other or "error" in host:
        if "error" in other and "error" in host:
            return ["both refuse"], None
        reason = known(template, chat, host, other) if "error" in other else None
        if "operator on unsupported types string" in host.get("error", "") or "varargs" in template:
            reason = "operator"
        return [], ("refusal", reason, f"transformers: {other.get('error', 'renders it')}\n  host: {host.get('error', 'renders it')}")
    if host["text"] != other["text"]:
        lines = difflib.unified_diff(repr(other["text"]).split("\\n"), repr(host["text"]).split("\\n"), "transformers", "host", lineterm="", n=0)
        return ["text"], ("text", known(template, chat, host, other), "\n  ".join(list(lines)[:14]))
    if host["ids"] != other["ids"]:
        return ["text", "ids"], ("ids", None, f"{other['ids']}\n  {host['ids']}")
    if chat["prompt"]:
        return ["text", "ids"], None
    done = ["text", "ids"]
    if other["mask"] is not None and any(other["mask"]):
        done.append("mask")
        if "in several places" in host.get("untrained", ""):
            return done, ("mask", "gaps" if "generation" in template else None, "")
        if "untrained" in host or mask_of(host) != other["mask"]:
            return done, ("mask", None, f"{host.get('untrained')}\n  {other['mask']}\n  {host.get('answers')}")
        return done, None
    if "untrained" in host:
        # An answer without any text, or to nothing, has no place.
        return done + ["untrained"], None
    prompt = theirs(tokenizer, template, chat, messages=chat["messages"][:-1], prompt=True)
    if "error" not in prompt:
        done.append("begin")
        start = host["answers"][-1]["start"]
        if host["tokens"][:start] != prompt["ids"]:
            # Of an earlier answer, whose prompt's tokens stay whole as well.
            earlier = len(host["answers"]) > 1 and tokenizer.decode(host["tokens"][:start]) == tokenizer.decode(prompt["ids"])
            if earlier:
                return done, ("begin", "tokens", "")
            return done, ("begin", None, f"{prompt['text']!r}\n  {tokenizer.decode(host['tokens'][:start])!r}")
    if host["tokens"] != other["ids"]:
        rendered = tokenizer.decode(host["tokens"]) == tokenizer.decode(other["ids"])
        thought = sum(host["thoughts"]) > 0 or not other["text"].startswith(prompt.get("text", ""))
        return done, ("tokens", "tokens" if rendered else "thought" if thought else None, tokenizer.decode(host["tokens"]))
    return done, None


def folder_differences(plain, work):
    """The folders of which a text has other ids, and how many there are."""
    read = lambda path: json.loads(path.read_text()) if path.exists() else {}
    stored = read(plain / "tokenizer.json")
    ids = {**stored["model"]["vocab"], **{token["content"]: token["id"] for token in stored["added_tokens"]}}
    cases, requests = folders(max(ids.values()) + 1, ids), []
    for number, changes in enumerate(cases.values()):
        folder = pathlib.Path(work) / f"folder{number}"
        shutil.copytree(plain, folder)
        for part, name in [("config", "tokenizer_config"), ("map", "special_tokens_map"), ("added", "added_tokens"), ("tokenizer", "tokenizer")]:
            if part in changes:
                path = folder / f"{name}.json"
                path.write_text(json.dumps({**read(path), **changes[part]}))
        requests.append(dict(tokenizer=str(folder), texts=TEXTS))
    for name, request, host in zip(cases, requests, ours(requests)):
        tokenizer = transformers.AutoTokenizer.from_pretrained(request["tokenizer"])
        other = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
        for text, ours_, theirs_ in zip(TEXTS, host.get("ids", [None] * len(TEXTS)), other):
            if ours_ != theirs_:
                yield len(cases), f"files, {name}: ids of {text!r} differ\n  {tokenizer.convert_ids_to_tokens(theirs_)}\n  {host.get('error', ours_)}"
                break
    yield len(cases), None


def main():
    logging.disable(logging.WARNING)
    templates = [*packaged_templates(), *STYLES.items(), *ENVIRONMENT.items()]
    asked = list(chats())
    print(f"transformers {transformers.__version__}, jinja2 {jinja2.__version__}: {len(templates)} templates, {len(asked)} conversations, 2 tokenizers")
    words = [json.dumps(chat["messages"], ensure_ascii=False) + "\n\n\n" for _, chat in asked] + [*STYLES.values(), "a\n\nb\n" * 300]
    counts, reasons, failures = collections.Counter(), collections.Counter(), []
    with tempfile.TemporaryDirectory() as work:
        for kind in ["bytes", "pieces"]:
            tokenizer = tokenizer_of(kind, words)
            folder = pathlib.Path(work) / kind
            tokenizer.save_pretrained(folder)
            if kind == "bytes":
                for folder_count, failure in folder_differences(folder, work):
                    failures += [failure] if failure else []
                counts["folders"] = folder_count
            common = dict(tokenizer=str(folder), date=NOW.isoformat(), chats=[chat for _, chat in asked])
            # Templates don't know the tokenizer: the second one is for those that write text of many kinds.
            used = templates if kind == "bytes" else [*STYLES.items()]
            answers = iter(ours([dict(template=text, **common) for _, text in used]))
            for name, text in used:
                for about, chat in asked:
                    done, difference = compare(tokenizer, text, chat, next(answers))
                    counts.update(done)
                    if difference is None:
                        continue
                    what, reason, shown = difference
                    if reason is None:
                        failures.append(f"{kind}, {name}, {about}: {what} differs\n  {shown}")
                    else:
                        reasons[reason] += 1
    print(", ".join(f"{what} {count}" for what, count in counts.items()))
    for reason, count in reasons.items():
        print(f"known: {count} x {reason}: {KNOWN[reason]}")
    for failure in failures[:SHOWN]:
        print("FAILED", failure)
    print(f"{len(failures)} differences" if failures else "no difference")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
