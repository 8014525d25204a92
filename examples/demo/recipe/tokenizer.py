"""Trains the byte-level BPE tokenizer on the demo corpus and writes it with its chat template."""

import json
import os

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

# <|endoftext|> = 0, <|im_start|> = 1, <|im_end|> = 2. Byte-level: any text encodes, none is unknown.
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
VOCABULARY = 1536
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def train(texts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def save(tokenizer, folder):
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 512,
        "chat_template": CHAT_TEMPLATE,
    }
    with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf-8") as out:
        json.dump(settings, out, indent=2)
        out.write("\n")


def chat_text(prompt, answer=None):
    """The template above, rendered; with `answer` the whole conversation."""
    opening = f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
    return opening if answer is None else f"{opening}{answer}<|im_end|>\n"
