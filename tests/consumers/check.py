"""Tries what `host export` writes in the programs that it is for: transformers, peft, and llama.cpp.

For the demo model, for a random model of each of FAMILIES (`--families`), and for every GGUF file that is named: a short
training, and then the same greedy answers as `host generate` gives
  * from AutoPeftModelForCausalLM and AutoTokenizer on the exported adapter folder;
  * from llama.cpp on the merged GGUF file in f32, and on base and adapter as two GGUF files;
  * from transformers on the merged folder, and on the merged GGUF file in f32;
  * from `host serve` on the run, all prompts at once;
and the same ids of every prompt. The Python package gguf reads every file: the names are those of its own table, the
values those of the merged folder, as exact as the format is. Files in f16, q8_0 and q4_k must load and answer; how many
answers are the same is shown. The last lines are a table of all of it, in Markdown.

    cargo build --release
    python3 tests/consumers/check.py [--families] [MODEL.gguf ...]

llama.cpp comes by npm: `npm install node-llama-cpp` in a folder, which NODE_PATH_OF_LLAMA names (default: tests/consumers).
Without transformers, peft, gguf or node-llama-cpp it says so and ends with code 77.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
HOST = str(pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/host")
os.environ.setdefault("HOST", HOST)
sys.path.append(str(HERE.parent / "harnesses"))

import common

try:
    import gguf
    import numpy
    import torch
    import transformers
    from peft import AutoPeftModelForCausalLM
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer
except ImportError as missing:
    print(f"SKIPPED: {missing}; pip install torch transformers peft gguf")
    sys.exit(77)

NODE = pathlib.Path(os.environ.get("NODE_PATH_OF_LLAMA", HERE))
DEMO = ROOT / "examples/demo/model"
PROMPTS = ["How do I bake bread?", "Name three colours.", "What's 12 + 345?  Ünïcödé — 東京 🙂"]
MAX = 24
SLOW = ["--lr", "2e-3"]
NOTHING = ["--set", "eval.harmful=[]", "--set", "eval.harmless=[]", "--set", "eval.task=[]"]
# The largest error of a value, as a share of the largest value of its tensor.
KINDS = {"f32": 1e-6, "f16": 1e-3, "q8_0": 1e-2, "q4_k": 0.15}
# What differs from the sizes that all have.
FAMILIES = {
    "llama": {},
    "mistral": {"sliding_window": None},
    "qwen2": {},
    "qwen3": {"head_dim": 32},
    "phi3": {"pad_token_id": 0},
    "gemma": {"head_dim": 32, "tie_word_embeddings": True},
    "gemma2": {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 24, "tie_word_embeddings": True},
    "gemma3_text": {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 24, "tie_word_embeddings": True},
    "olmo2": {},
    "olmo3": {"sliding_window": 24},
    "smollm3": {"pad_token_id": 0},
    "granite": {
        "embedding_multiplier": 3.0, "attention_multiplier": 0.25, "residual_multiplier": 0.5, "logits_scaling": 2.0,
    },
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen3_moe": {
        "head_dim": 32, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 128, "norm_topk_prob": True,
    },
}
# The architectures whose GGUF files transformers reads as they are: of others it misses the width of heads, norms or
# experts.
READ_BY_TRANSFORMERS = ["llama", "mistral", "qwen2", "phi3"]
# Model: way: how many greedy answers, of all, are those of `host generate`.
table = {}
failures = []


def host(*arguments):
    done = subprocess.run([HOST, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, f"host {arguments}: {done.stderr}"
    return done.stdout


def count(name, way, expected, found):
    """Notes how many answers are the same."""
    equal = sum(a == b for a, b in zip(expected, found))
    table.setdefault(name, {})[way] = f"{equal} of {len(expected)}"
    return equal


def print_table():
    ways = list(dict.fromkeys(way for row in table.values() for way in row))
    for cells in [["model", *ways], ["---"] * (len(ways) + 1)]:
        print(f"| {' | '.join(cells)} |")
    for name, row in table.items():
        print(f"| {name} | {' | '.join(row.get(way, '-') for way in ways)} |")


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


def served(run):
    """Greedy answers of the server, to which all prompts are sent at once."""
    with common.Server("--run", run, "--quiet") as server:
        def ask(prompt):
            messages = [{"role": "user", "content": prompt}]
            asked = {"messages": messages, "temperature": 0, "max_tokens": MAX}
            return server.post("/v1/chat/completions", asked)["choices"][0]["message"]["content"]

        with ThreadPoolExecutor(len(PROMPTS)) as pool:
            return list(pool.map(ask, PROMPTS))


def answers_of(model, ids, tokenizer):
    found = []
    for prompt in ids:
        with torch.no_grad():
            out = model.generate(
                torch.tensor([prompt]), max_new_tokens=MAX, do_sample=False, pad_token_id=0, repetition_penalty=1.0
            )
        found.append(tokenizer.decode(out[0][len(prompt):], skip_special_tokens=True))
    return found


def expected_tensors(folder, reader):
    """The merged folder's tensors under the names that the package gguf gives them, laid out as in GGUF."""
    config = json.loads((folder / "config.json").read_text())
    field = lambda name: reader.get_field(name).contents()
    architecture = field("general.architecture")
    kind = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(kind, config["num_hidden_layers"])
    interleaves = architecture in ["llama", "granite", "smollm3"]
    offset = 1.0 if architecture.startswith("gemma") else 0.0
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    found, stacks = {}, {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        values = tensor.float().numpy()
        module = name.split(".")[-2]
        if interleaves and module in heads:
            shape = values.shape
            values = values.reshape(heads[module], 2, shape[0] // heads[module] // 2, *shape[1:])
            values = values.swapaxes(1, 2).reshape(shape)
        if name.endswith("norm.weight"):
            values = values + offset
        if ".experts." in name:
            before, rest = name.split(".experts.")
            expert, part, _ = rest.split(".")
            stacks.setdefault(f"{before}.experts.{part}.weight", {})[int(expert)] = values
        else:
            found[names.get_name(name, try_suffixes=(".weight", ".bias"))] = values
    for name, experts in stacks.items():
        stack = numpy.stack([experts[number] for number in range(len(experts))])
        found[names.get_name(name, try_suffixes=(".weight",))] = stack
    return found


def read_by_gguf(kind, path, folder):
    reader = gguf.GGUFReader(path)
    expected = expected_tensors(folder, reader)
    settings = {"rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight"}
    there = {tensor.name for tensor in reader.tensors} - settings
    if there != set(expected):
        failures.append(f"gguf: names in {kind}")
        print(f"  gguf: names differ in {kind}: {sorted(there ^ set(expected), key=str)}")
        return
    worst = 0.0
    for tensor in reader.tensors:
        if tensor.name not in settings:
            values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            wanted = expected[tensor.name]
            assert values.shape == wanted.shape, f"{tensor.name}: {values.shape}, not {wanted.shape}"
            worst = max(worst, float(abs(values - wanted).max() / abs(wanted).max()))
    print(f"  gguf on {kind}: {len(there)} tensors, largest error {worst:.1e} of the largest value")
    if worst > KINDS[kind]:
        failures.append(f"gguf: values in {kind}")


def random_model(family, folder):
    """A model of the family with the demo's tokenizer, random but for that."""
    torch.manual_seed(1)
    own = json.loads((DEMO / "config.json").read_text())
    sizes = ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
             "num_key_value_heads", "max_position_embeddings", "bos_token_id", "eos_token_id"]
    fields = {"initializer_range": 0.2, "tie_word_embeddings": False, **FAMILIES[family]}
    config = transformers.AutoConfig.for_model(family, **{key: own[key] for key in sizes}, **fields)
    AutoModelForCausalLM.from_config(config).float().save_pretrained(folder)
    for name in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"]:
        shutil.copy(DEMO / name, folder / name)


def check(name, model, base, folder, more=(), start=None):
    """`model` are host's arguments for it, `base` is a folder that peft finds it by.

    A random model has many near ties, at which llama.cpp, which rounds otherwise, goes another way sooner or later: of its
    answers the first `start` characters are compared, and how many are the same to their end is shown.
    """
    print(name)
    run, adapter = folder / "run", folder / "adapter"
    train = ["train", *model, "--quiet", "--no-baseline", "--steps", "12", "--batch", "4", *NOTHING]
    host(*train, *more, "--output", run)
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
    strip = lambda list_: [text.strip() for text in list_]

    def all_same(way, found):
        count(name, way, strip(answers), strip(found))
        same(way, strip(answers), strip(found))

    all_same("served", served(run))
    all_same("peft", answers_of(loaded, ids, tokenizer))

    merged = folder / "merged"
    host("export", "--quiet", "--run", run, "--merged", "--output", merged)
    loaded = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32).eval()
    all_same("transformers, merged", answers_of(loaded, ids, tokenizer))
    files = {kind: folder / f"{kind}.gguf" for kind in KINDS}
    for kind, path in files.items():
        host("export", "--quiet", "--run", run, "--gguf", path, "--quantize", kind)
        read_by_gguf(kind, path, merged)
    kind = json.loads((merged / "config.json").read_text())["model_type"]
    if kind not in READ_BY_TRANSFORMERS:
        print("  transformers reads no such GGUF file")
    else:
        loaded = AutoModelForCausalLM.from_pretrained(folder, gguf_file="f32.gguf", dtype=torch.float32).eval()
        all_same("transformers, GGUF", answers_of(loaded, ids, tokenizer))
    host("export", "--quiet", *model, "--gguf", folder / "base.gguf", "--quantize", "f32")
    host("export", "--quiet", "--run", run, "--gguf-adapter", folder / "lora.gguf")
    merged = llama_cpp(files["f32"], texts)
    if merged is None:
        return False
    same("llama.cpp: ids of the prompts", ids, [one["prompt"] for one in merged])
    beside = llama_cpp(folder / "base.gguf", texts, folder / "lora.gguf")
    for way, found in [("llama.cpp, merged", merged), ("llama.cpp, base and adapter", beside)]:
        found = strip(one["text"] for one in found)
        equal = count(name, way, strip(answers), found)
        if start is not None:
            print(f"  {way}: {equal} of {len(found)} answers the same to their end")
        cut = lambda list_: [text[:start] for text in list_]
        same(way, cut(strip(answers)), cut(found))
    for kind in ["f16", "q8_0", "q4_k"]:
        rounded = strip(one["text"] for one in llama_cpp(files[kind], texts))
        equal = count(name, f"llama.cpp, {kind}", strip(answers), rounded)
        print(f"  llama.cpp on the merged file in {kind}: loads, {equal} of {len(answers)} answers the same")
    return True


def main():
    arguments = sys.argv[1:]
    families = FAMILIES if "--families" in arguments else {}
    whole = True
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "demo").mkdir()
        whole &= check("demo", ["--model", DEMO], DEMO, folder / "demo", SLOW)
        for family in families:
            place = folder / family
            base = place / "base"
            base.mkdir(parents=True)
            random_model(family, base)
            # What is learned this fast leaves few ties.
            more = ["--lr", "2e-2"]
            if "num_experts_per_tok" in FAMILIES[family]:
                more += ["--targets", "q_proj,k_proj,v_proj,o_proj"]
            whole &= check(f"{family} (random)", ["--model", base], base, place, more, start=24)
        for number, gguf_file in enumerate(it for it in arguments if not it.startswith("--")):
            place = folder / str(number)
            place.mkdir()
            base = place / "base"
            host("export", "--quiet", "--model", gguf_file, "--merged", "--output", base)
            whole &= check(pathlib.Path(gguf_file).name, ["--model", gguf_file], base, place, SLOW)
    print_table()
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
