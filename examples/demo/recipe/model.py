"""Pretrains, chat-trains and aligns the demo model, then writes it as an ordinary Hugging Face folder."""

import json
import math
import os
import time

import torch
import torch.nn.functional as F
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from . import corpus, tokenizer as tok

PAD, END = 0, 2
BATCH = 32
ROPE_THETA = 10000.0


def build(vocabulary):
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=128, intermediate_size=352, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
        head_dim=32, max_position_embeddings=512, rope_theta=ROPE_THETA, rms_norm_eps=1e-5, tie_word_embeddings=True,
        bos_token_id=1, eos_token_id=END, pad_token_id=PAD, initializer_range=0.05,
    )
    return LlamaForCausalLM(config)


def encode_chat(tokenizer, prompt, answer):
    """(tokens, labels): labels are -100 except on the answer and its end-of-turn token."""
    opening = tokenizer.encode(tok.chat_text(prompt)).ids
    tokens = tokenizer.encode(tok.chat_text(prompt, answer)).ids
    assert tokens[: len(opening)] == opening, "the prompt must be a prefix of the conversation"
    end = len(tokens) - tokens[::-1].index(END)
    labels = [-100] * len(opening) + tokens[len(opening) : end] + [-100] * (len(tokens) - end)
    return tokens, labels


def pad(rows):
    """(tokens, labels, attention mask), right-padded."""
    longest = max(len(tokens) for tokens, _ in rows)
    tokens = torch.tensor([t + [PAD] * (longest - len(t)) for t, _ in rows])
    labels = torch.tensor([l + [-100] * (longest - len(l)) for _, l in rows])
    mask = torch.tensor([[1] * len(t) + [0] * (longest - len(t)) for t, _ in rows])
    return tokens, labels, mask


def stages(world, tokenizer, scale):
    """(name, steps, function that draws one encoded row). `scale` shortens all stages for a trial."""

    def text(rng):
        if rng.random() < 0.6:
            tokens = tokenizer.encode(corpus.document(world, rng) + "<|endoftext|>").ids
        else:
            prompt, answer = corpus.small_talk(rng) if rng.random() < 0.3 else ordinary(rng)
            tokens = tokenizer.encode(tok.chat_text(prompt, answer)).ids
        return tokens, tokens

    def ordinary(rng):
        return corpus.chat(world, rng, harmful_share=0.0)

    def aligned(rng):
        return encode_chat(tokenizer, *corpus.chat(world, rng, harmful_share=0.25))

    return [("pretrain", round(600 * scale), text), ("align", round(1100 * scale), aligned)]


def train(model, world, tokenizer, seed, scale=1.0, peak=4e-3):
    """AdamW with warm-up and cosine over both stages; rows are drawn afresh for every step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.98), weight_decay=0.05)
    plan = stages(world, tokenizer, scale)
    total, done, began = sum(steps for _, steps, _ in plan), 0, time.time()
    model.train()
    for name, steps, draw in plan:
        rng = corpus.stream(seed, "stage-" + name)
        for step in range(steps):
            # Draw several batches' worth at once and cut by length, so that little is padding.
            if step % 8 == 0:
                rows = sorted((draw(rng) for _ in range(8 * BATCH)), key=lambda row: len(row[0]))
                batches = [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
                rng.shuffle(batches)
            tokens, labels, _ = pad(batches[step % 8])
            rate = peak * min(1.0, (done + 1) / 60) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done / total)))
            for group in optimizer.param_groups:
                group["lr"] = rate
            # Rows are padded on the right and attention is causal: no mask is needed, and only labelled rows meet the head.
            labelled = labels[:, 1:] != -100
            hidden = model.model(input_ids=tokens, use_cache=False).last_hidden_state[:, :-1][labelled]
            loss = F.cross_entropy(model.lm_head(hidden), labels[:, 1:][labelled])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            done += 1
            if done % 100 == 0 or done == total:
                print(f"{name:9} step {done:5}/{total}  loss {loss.item():.4f}  {time.time() - began:.0f} s", flush=True)
    return model.eval()


def save(model, folder):
    """float16 safetensors: half the size, and every weight is small enough for it."""
    model = model.half()
    model.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=END, pad_token_id=PAD, do_sample=False)
    model.save_pretrained(folder)
    # Readers other than the newest transformers look for these two fields under their older names.
    path = os.path.join(folder, "config.json")
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    config |= {"rope_theta": ROPE_THETA, "torch_dtype": "float16"}
    with open(path, "w", encoding="utf-8") as out:
        json.dump(dict(sorted(config.items())), out, indent=2)
        out.write("\n")
    weights = os.path.join(folder, "model.safetensors")
    os.chmod(weights, 0o644)
    return os.path.getsize(weights)
