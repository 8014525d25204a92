"""A tiny model, rows and trainers for the tests of `risk_policy.training`; skips where torch, peft or trl are missing."""

import json

import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")
pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")
tokenizers = pytest.importorskip("tokenizers")
pytest.importorskip("risk_policy")

torch.set_num_threads(1)
VOCABULARY = 200
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def tokenizer():
    names = ["<pad>", "<s>", "<end>", *(f"w{i}" for i in range(VOCABULARY - 3))]
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<pad>"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", bos_token="<s>", eos_token="<end>")


def model(**fields):
    torch.manual_seed(3)
    sizes = dict(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=128, pad_token_id=0, bos_token_id=1, eos_token_id=2, initializer_range=0.2,
    )
    return transformers.AutoModelForCausalLM.from_config(transformers.LlamaConfig(**{**sizes, **fields}))


def lora(**fields):
    return peft.LoraConfig(**{**dict(r=4, lora_alpha=8, target_modules=TARGETS, task_type="CAUSAL_LM"), **fields})


def adapted(**fields):
    torch.manual_seed(5)
    return peft.get_peft_model(model(), lora(**fields))


def rows(count=24):
    generator = torch.Generator().manual_seed(1)

    def row():
        prompt, answer = torch.randint(4, 12, (2,), generator=generator).tolist()
        ids = torch.randint(3, VOCABULARY, (prompt + answer,), generator=generator).tolist()
        return {"input_ids": ids, "labels": [-100] * prompt + ids[prompt:]}

    return [row() for _ in range(count)]


def trainer(folder, risk_policy=None, batch=4, accumulate=1, steps=6, cls=None, model=None, data=None, evaluation=None, **fields):
    import trl

    from risk_policy.training import RiskPolicyTrainer

    arguments = trl.SFTConfig(
        **{
            **dict(
                output_dir=str(folder / "out"), per_device_train_batch_size=batch, gradient_accumulation_steps=accumulate,
                max_steps=steps, learning_rate=5e-3, report_to=[], use_cpu=True, bf16=False, save_strategy="no", logging_steps=1,
                disable_tqdm=True, train_sampling_strategy="sequential", dataset_kwargs={"skip_prepare_dataset": True},
                gradient_checkpointing=False,
            ),
            **fields,
        }
    )
    policy = {} if risk_policy is None else {"risk_policy": risk_policy}
    cls = cls or (trl.SFTTrainer if risk_policy is None else RiskPolicyTrainer)
    return cls(
        model=adapted() if model is None else model, args=arguments, processing_class=tokenizer(),
        train_dataset=datasets.Dataset.from_list(rows() if data is None else data),
        eval_dataset=None if evaluation is None else datasets.Dataset.from_list(evaluation), **policy,
    )


def weights(trained):
    return {name: one.detach().clone() for name, one in trained.model.named_parameters() if one.requires_grad}


def gap(ours, theirs):
    assert ours.keys() == theirs.keys()
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)


def lines(trained):
    return [json.loads(line) for line in (trained.risk_policy_folder / "metrics.jsonl").read_text().splitlines()]
