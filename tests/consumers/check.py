"""Tries what `host export` writes in the programs that it is for: transformers with peft, and llama.cpp.

For the demo model, and for every GGUF file that is named: a short training, and then the same greedy answers as
`host generate` gives
  * from AutoPeftModelForCausalLM and AutoTokenizer on the exported adapter folder;
  * from llama.cpp on the merged GGUF file in f32, and on base and adapter as two GGUF files;
and the same ids of every prompt. Files in f16, q8_0 and q4_k must load and answer; how many answers are the same is shown.

    cargo build --release
    python3 tests/consumers/check.py [MODEL.gguf ...]

llama.cpp comes by npm: `npm install node-llama-cpp` in a folder, which NODE_PATH_OF_LLAMA names (default: tests/consumers).
Without transformers, peft or node-llama-cpp it says so and ends with code 77.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

try:
    import torch
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoTokenizer
except ImportError as missing:
    print(f"SKIPPED: {missing}; pip install torch transformers peft")
    sys.exit(77)

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
HOST = str(pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/host")
NODE = pathlib.Path(os.environ.get("NODE_PATH_OF_LLAMA", HERE))
PROMPTS = ["How do I bake bread?", "Name three colours.", "What's 12 + 345?  Ünïcödé — 東京 🙂"]
MAX = 24
NOTHING = ["--set", "eval.harmful=[]", "--set", "eval.harmless=[]", "--set", "eval.task=[]"]
failures = []


def host(*arguments):
    done = subprocess.run([HOST, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, f"host {arguments}: {done.stderr}"
    return done.stdout


def same(what, expected, found):
    equal = sum(a == b for a, b in zip(expected, found))
    print(f"  {what}: {equal} of {len(expected)} the same")
    if expected != found:
        failures.append(what)
        for a, b in zip(expected, found):
            if a != b:
                print(f"    expected {a!r}\n    found    {b!r}")


def llama_cpp(model, prompts, lora=None):
    job = {"model": str(model), "lora": lora and str(lora), "prompts": prompts, "max": MAX}
    script = shutil.copy(HERE / "llama_cpp.mjs", NODE / "llama_cpp.mjs") if NODE != HERE else HERE / "llama_cpp.mjs"
    done = subprocess.run(["node", script], input=json.dumps(job), capture_output=True, text=True)
    if done.returncode == 77:
        print(done.stderr.strip())
        return None
    assert done.returncode == 0, f"{model}, {lora}: {done.stderr}"
    return json.loads(done.stdout)


def check(name, model, base, folder):
    """`model` are host's arguments for it, `base` is a folder that peft finds it by."""
    print(name)
    run, adapter = folder / "run", folder / "adapter"
    train = ["train", *model, "--quiet", "--no-baseline", "--steps", "12", "--lr", "2e-3", "--batch", "4", *NOTHING]
    host(*train, "--output", run)
    host("export", "--quiet", "--run", run, "--base-name", base, "--output", adapter)
    answers = host("generate", "--quiet", "--run", run, "--max-new-tokens", MAX, "--json", *PROMPTS)
    answers = [json.loads(line)["answer"] for line in answers.splitlines()]
    plain = host("generate", "--quiet", *model, "--max-new-tokens", MAX, "--json", *PROMPTS)
    assert answers != [json.loads(line)["answer"] for line in plain.splitlines()], "the adapter changes nothing"

    tokenizer = AutoTokenizer.from_pretrained(adapter)
    loaded = AutoPeftModelForCausalLM.from_pretrained(adapter, dtype=torch.float32).eval()
    texts = [
        tokenizer.apply_chat_template([{"role": "user", "content": prompt}], add_generation_prompt=True, tokenize=False)
        for prompt in PROMPTS
    ]
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    found = []
    for prompt in ids:
        with torch.no_grad():
            out = loaded.generate(
                torch.tensor([prompt]), max_new_tokens=MAX, do_sample=False, pad_token_id=0, repetition_penalty=1.0
            )
        found.append(tokenizer.decode(out[0][len(prompt):], skip_special_tokens=True))
    strip = lambda list_: [text.strip() for text in list_]
    same("AutoPeftModelForCausalLM on the adapter's folder", strip(answers), strip(found))

    files = {kind: folder / f"{kind}.gguf" for kind in ["f32", "f16", "q8_0", "q4_k"]}
    for kind, path in files.items():
        host("export", "--quiet", "--run", run, "--gguf", path, "--quantize", kind)
    host("export", "--quiet", *model, "--gguf", folder / "base.gguf", "--quantize", "f32")
    host("export", "--quiet", "--run", run, "--gguf-adapter", folder / "lora.gguf")
    merged = llama_cpp(files["f32"], texts)
    if merged is None:
        return False
    same("llama.cpp: ids of the prompts", ids, [one["prompt"] for one in merged])
    same("llama.cpp on the merged file in f32", strip(answers), strip(one["text"] for one in merged))
    beside = llama_cpp(folder / "base.gguf", texts, folder / "lora.gguf")
    same("llama.cpp on base and adapter", strip(answers), strip(one["text"] for one in beside))
    for kind in ["f16", "q8_0", "q4_k"]:
        rounded = strip(one["text"] for one in llama_cpp(files[kind], texts))
        equal = sum(a == b for a, b in zip(strip(answers), rounded))
        print(f"  llama.cpp on the merged file in {kind}: loads, {equal} of {len(answers)} answers the same")
    return True


def main():
    whole = True
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        demo = ROOT / "examples/demo/model"
        (folder / "demo").mkdir()
        whole &= check("demo", ["--model", demo], demo, folder / "demo")
        for number, gguf in enumerate(sys.argv[1:]):
            place = folder / str(number)
            place.mkdir()
            base = place / "base"
            host("export", "--quiet", "--model", gguf, "--merged", "--output", base)
            whole &= check(pathlib.Path(gguf).name, ["--model", gguf], base, place)
    if failures:
        print(f"FAILED: {', '.join(failures)}")
        return 1
    if not whole:
        print(f"SKIPPED in part: npm install node-llama-cpp in {NODE}")
        return 77
    print("all the same")
    return 0


if __name__ == "__main__":
    sys.exit(main())
