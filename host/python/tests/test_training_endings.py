"""However a training ends, its journal says so, verifies, and can be gone on from."""

import json

import pytest

from training_setup import adapted, gap, lines, rows, tokenizer, torch, trainer, transformers, weights

import risk_policy
from risk_policy.training import RiskPolicyTrainer, UnsuitableSetup
from test_training_trainer import everything, key  # noqa: F401


def cut(where, method):
    """A trainer that is interrupted at step 3, at the first call of this method."""

    class Cut(RiskPolicyTrainer):
        pass

    def leave(self, *args, **kwargs):
        if self.state.global_step == 3:
            raise KeyboardInterrupt
        return getattr(super(Cut, self), method)(*args, **kwargs)

    setattr(Cut, method, leave)
    return Cut


def ended(one):
    entries = [json.loads(line)["entry"] for line in (one.risk_policy_folder / "journal/records.jsonl").read_text().splitlines()]
    return entries[-1], json.loads((one.risk_policy_folder / "manifest.json").read_text())["status"]


@pytest.mark.parametrize("method", ["compute_loss", "_get_grad_norm", "_after_update", "_end_step"])
def test_a_training_cut_off_in_the_middle_of_a_step_is_whole_and_goes_on(tmp_path, key, method):  # noqa: F811
    fields = dict(save_strategy="steps", save_steps=2)
    one = trainer(tmp_path, everything(key), cls=cut(tmp_path, method), **fields)
    with pytest.raises(KeyboardInterrupt):
        one.train()
    found = risk_policy.replay(one.risk_policy_folder / "journal")
    assert found["passed"] and found["steps"] == (3 if method == "_end_step" else 4), found
    entry, status = ended(one)
    assert status == "interrupted" and entry["kind"] == "end"
    again = trainer(tmp_path, everything(key), **fields)
    again.train(resume_from_checkpoint=True)
    assert again.risk_policy_folder == one.risk_policy_folder and risk_policy.replay(again.risk_policy_folder / "journal")["passed"]
    whole = trainer(tmp_path / "whole", everything(key))
    whole.train()
    assert gap(weights(whole), weights(again)) < 1e-6 and len(lines(again)) == 6


def test_a_training_cut_off_between_two_policies_has_failed(tmp_path, key, monkeypatch):  # noqa: F811
    from risk_policy.training import policies

    one = trainer(tmp_path, everything(key))
    seen = policies.view

    def view(wanted, measured):
        if measured["step"] == 3 and not wanted.get("anchors"):
            raise KeyboardInterrupt
        return seen(wanted, measured)

    monkeypatch.setattr(policies, "view", view)
    with pytest.raises(KeyboardInterrupt):
        one.train()
    assert risk_policy.replay(one.risk_policy_folder / "journal")["verified"]["findings"] == []
    assert ended(one)[1] == "interrupted"


def test_a_callback_may_end_a_training_early(tmp_path, key):  # noqa: F811
    class Enough(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            control.should_training_stop = state.global_step == 3

    one = trainer(tmp_path, everything(key))
    one.add_callback(Enough())
    one.train()
    assert ended(one)[1] == "early-stop" and risk_policy.replay(one.risk_policy_folder / "journal")["passed"]


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        (dict(batch=2, accumulate=3, steps=-1, num_train_epochs=2, data=rows(10)), 4),
        (dict(batch=2, steps=2), 2),
        (
            dict(
                evaluation=rows(6), eval_strategy="steps", eval_steps=2, save_strategy="steps", save_steps=2,
                load_best_model_at_end=True, metric_for_best_model="eval_loss",
            ),
            6,
        ),
        (dict(torch_compile=True, torch_compile_backend="eager", steps=2), 2),
        (dict(steps=2, data=[{"input_ids": [5, 6], "labels": [-100, 6]}] * 8), 2),
        (dict(max_grad_norm=0.0, steps=2), 2),
    ],
    ids=["last group incomplete", "shorter than an epoch", "evaluated, best taken", "compiled", "one token to learn", "not clipped"],
)
def test_arguments_that_change_how_a_trainer_goes_are_journaled_all_the_same(tmp_path, key, fields, count):  # noqa: F811
    one = trainer(tmp_path, everything(key), **fields)
    one.train()
    assert len(lines(one)) == count and ended(one)[1] == "finished"
    assert risk_policy.replay(one.risk_policy_folder / "journal")["passed"]


def test_fused_losses_are_refused_before_they_are_in_the_model(tmp_path, key):  # noqa: F811
    with pytest.raises(UnsuitableSetup, match="use_liger_kernel"):
        trainer(tmp_path, everything(key), use_liger_kernel=True)


def test_tokens_alone_have_nothing_to_learn(tmp_path, key):  # noqa: F811
    with pytest.raises(UnsuitableSetup, match="first tokens"):
        trainer(tmp_path, everything(key), data=[{"input_ids": [5], "labels": [5]}] * 8).train()


def test_a_broken_adapter_ends_at_the_policy_or_after_three_steps(tmp_path, key):  # noqa: F811
    from risk_policy.training import NotFinite

    for policy, error in ((everything(key), risk_policy.PolicyFault), ("builtin:sft", NotFinite)):
        broken = adapted()
        with torch.no_grad():
            next(one for name, one in broken.named_parameters() if "lora_A" in name).fill_(float("nan"))
        one = trainer(tmp_path / error.__name__, policy if error is not NotFinite else _with(key), model=broken)
        with pytest.raises(error):
            one.train()
        assert ended(one)[1] == "failed" and risk_policy.replay(one.risk_policy_folder / "journal")["verified"]["findings"] == []


def _with(key):  # noqa: F811
    from risk_policy.training import RiskPolicyConfig

    return RiskPolicyConfig(["builtin:sft"], key=key)


#: A chat template that marks what the assistant says.
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}w10 {% generation %}{{ m['content'] }} <end>{% endgeneration %}"
    "{% else %}w11 {{ m['content'] }} {% endif %}{% endfor %}{% if add_generation_prompt %}w10 {% endif %}"
)


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [(dict(assistant_only_loss=True), 4 * 2 * 4), (dict(completion_only_loss=True), 4 * 3), (dict(completion_only_loss=False), 4 * 5)],
)
def test_masks_of_trl_say_which_tokens_are_answers(tmp_path, key, fields, tokens):  # noqa: F811
    import datasets
    import trl

    words = tokenizer()
    words.chat_template = TEMPLATE
    if "assistant_only_loss" in fields:
        turn = lambda i: [{"role": "user", "content": f"w{i} w{i + 1}"}, {"role": "assistant", "content": f"w{i + 2} w{i + 3} w{i + 4}"}]  # noqa: E731
        data = [{"messages": turn(i) + turn(i)} for i in range(20, 28)]
    else:
        data = [{"prompt": f"w{i} w{i + 1} w{i + 2}", "completion": f" w{i + 3} w{i + 4}"} for i in range(20, 28)]
    arguments = trl.SFTConfig(
        output_dir=str(tmp_path), per_device_train_batch_size=4, max_steps=2, report_to=[], use_cpu=True, bf16=False, save_strategy="no",
        disable_tqdm=True, **fields,
    )
    one = RiskPolicyTrainer(
        model=adapted(), args=arguments, processing_class=words, train_dataset=datasets.Dataset.from_list(data), risk_policy=_with(key)
    )
    one.train()
    assert [line["answer_tokens"] for line in lines(one)] == [tokens] * 2
