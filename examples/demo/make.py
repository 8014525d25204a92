#!/usr/bin/env python3
"""Makes the embedded demo: tokenizer, model, data, and the figures of README.md. One command:

    python3 examples/demo/make.py            everything (a few minutes on one core)
    python3 examples/demo/make.py --data     the data files only
    python3 examples/demo/make.py --check    the fine-tuning figures only

Needs torch, transformers, peft, tokenizers, safetensors. Reads nothing but the word lists in recipe/.
"""

import argparse
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
SEED = 20


def make_model(world, folder, scale):
    import torch

    from recipe import corpus, model, tokenizer as tok

    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    rng = corpus.stream(SEED, "tokenizer")
    texts = [corpus.document(world, rng) for _ in range(8000)] + [t for _ in range(8000) for t in corpus.chat(world, rng, 0.35)]
    texts += [t for _ in range(500) for t in corpus.task_row(rng, corpus.review_pairs(SEED)[0])] + ["user\n", "assistant\n", "system\n"] * 2000
    os.makedirs(folder, exist_ok=True)
    tokenizer = tok.train(texts)
    tok.save(tokenizer, folder)
    demo = model.train(model.build(tokenizer.get_vocab_size()), world, tokenizer, SEED, scale)
    size = model.save(demo, folder)
    print(f"model: {sum(p.numel() for p in demo.parameters()):,} weights, {size:,} bytes, vocabulary {tokenizer.get_vocab_size()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", action="store_true", help="write the data files only")
    parser.add_argument("--check", action="store_true", help="measure only")
    parser.add_argument("--seeds", type=int, default=3, help="fine-tuning seeds to measure (default 3)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the training steps, for a trial (default 1)")
    parser.add_argument("--out", default=HERE, help="folder that receives model/ and data/ (default: beside this file)")
    args = parser.parse_args()

    from recipe import corpus, data

    world = corpus.World(SEED)
    folders = os.path.join(args.out, "model"), os.path.join(args.out, "data")
    if not args.check:
        print("rows:", data.write_all(world, folders[1]))
    if not (args.check or args.data):
        make_model(world, folders[0], args.scale)
    if not args.data:
        from recipe import check

        check.measure(*folders, seeds=range(args.seeds))


if __name__ == "__main__":
    main()
