"""Folders of a tokenizer whose files say the same thing twice, or add to tokenizer.json: for each a name and what it
changes, as (tokenizer_config.json, special_tokens_map.json, added_tokens.json, tokenizer.json)."""

TEXTS = [
    "a <x> b<x>c", "<s>hi</s>", "<|im_start|>user\nhello <|im_end|>\n", " <tool> call<tool>", "A <NEW> b <new> c",
    "<extra>one <extra> two", "<eot>x", "[SEP]y hello", "<s> hi </s> ho  <s>",
]


def token(text, **flags):
    return dict(dict(content=text, lstrip=False, rstrip=False, normalized=False, single_word=False, special=True), **flags)


def folders(next_id, ids):
    """`next_id`: the first id that is free; `ids`: those of tokenizer.json."""
    def by_id(*tokens):
        return dict(added_tokens_decoder={str(id): one for id, one in tokens})

    end, start = ids["<|im_end|>"], ids["<s>"]
    return {
        "added_tokens.json": dict(added={"<x>": next_id, "<tool>": next_id + 1}),
        "added_tokens.json beside added_tokens_decoder": dict(added={"<x>": next_id}, config=by_id()),
        "added_tokens.json, special by the map": dict(added={"<x>": next_id}, map={"additional_special_tokens": ["<x>"]}),
        "added_tokens.json, ids taken and left out": dict(added={"<x>": next_id + 5, "<tool>": 3}),
        "added_tokens.json, no other": dict(added={"<NEW>": next_id}),
        "a list of extra tokens": dict(config=dict(extra_special_tokens=["<extra>", "<x>"])),
        "a list of additional tokens": dict(config=dict(additional_special_tokens=["<extra>"])),
        "both lists": dict(config=dict(additional_special_tokens=["<extra>"], extra_special_tokens=["<x>"])),
        "both lists, one empty": dict(config=dict(additional_special_tokens=["<extra>"], extra_special_tokens=[])),
        "extra tokens with names": dict(config=dict(extra_special_tokens={"eot_token": "<eot>", "b_token": "<x>"})),
        "a token of another name": dict(config=dict(eot_token="<eot>")),
        "sep": dict(config=dict(sep_token="[SEP]", mask_token="<x>", cls_token="<extra>")),
        "bos that is new": dict(config=dict(bos_token="<x>")),
        "bos that is a word": dict(config=dict(bos_token="hello")),
        "mask with flags": dict(config=dict(mask_token=dict(token("<x>", lstrip=True), __type="AddedToken"))),
        "the map's tokens": dict(map={"additional_special_tokens": ["<extra>"], "sep_token": "[SEP]"}),
        "the map's tokens with flags": dict(map={"sep_token": token("[SEP]", rstrip=True), "eot_token": "<eot>"}),
        "the map and the configuration": dict(config=dict(additional_special_tokens=["<x>"]), map={"additional_special_tokens": ["<extra>"]}),
        "the map beside added_tokens_decoder": dict(map={"additional_special_tokens": ["<extra>"]}, config=by_id()),
        "split": dict(config=dict(split_special_tokens=True)),
        "split, with new tokens": dict(config=dict(split_special_tokens=True, **by_id((next_id, token("<x>", special=False)), (next_id + 1, token("<tool>"))))),
        "other flags": dict(config=by_id((start, token("<s>", rstrip=True)), (end, token("<|im_end|>", rstrip=True, lstrip=True)))),
        "normalized": dict(config=by_id((start, token("<s>", normalized=True)))),
        "not special": dict(config=by_id((start, token("<s>", special=False, lstrip=True)))),
        "new and not special": dict(config=by_id((next_id, token("<NEW>", special=False, normalized=True, rstrip=True)))),
        "new, ids with gaps": dict(config=by_id((next_id + 7, token("<x>")), (next_id + 3, token("<tool>")))),
        "new, single word": dict(config=by_id((next_id, token("c", single_word=True, special=False)))),
        "an id of another token": dict(config=by_id((start, token("<x>")))),
        "bos and eos are added": dict(config=dict(add_bos_token=True, add_eos_token=True)),
        "shortest": dict(config=dict(model_max_length=4)),
        "truncation": dict(tokenizer=dict(truncation=dict(direction="Right", max_length=3, strategy="LongestFirst", stride=0))),
        "padding": dict(tokenizer=dict(padding=dict(strategy={"Fixed": 12}, direction="Left", pad_to_multiple_of=None, pad_id=0, pad_type_id=0, pad_token="<s>"))),
        "other settings": dict(config=dict(add_prefix_space=True, do_lower_case=True, clean_up_tokenization_spaces=True, padding_side="left", legacy=True)),
    }
