"""The parts of a step: samples, objective, chunked loss, distances, actuators. No policy is asked."""

import math

import numpy as np
import pytest

from training_setup import adapted, gap, model, rows, torch

from risk_policy.training import UnmetNeed, UnsuitableSetup, adapters, head, needs, objective
from risk_policy.training.actuators import Update
from risk_policy.training.batches import offsets_of, padded, predicting, samples_of
from risk_policy.training.readout import Reader, Reference


def batch_of(data):
    width = max(len(row["input_ids"]) for row in data)
    filled = lambda name, value: torch.tensor([row[name] + [value] * (width - len(row[name])) for row in data])  # noqa: E731
    mask = torch.tensor([[1] * len(row["input_ids"]) + [0] * (width - len(row["input_ids"])) for row in data])
    return {"input_ids": filled("input_ids", 0), "labels": filled("labels", -100), "attention_mask": mask}


def flat(data):
    join = lambda name: torch.tensor([[one for row in data for one in row[name]]])  # noqa: E731
    positions = torch.tensor([[at for row in data for at in range(len(row["input_ids"]))]])
    return {"input_ids": join("input_ids"), "labels": join("labels"), "position_ids": positions}


# ---------------------------------------------------------------------- samples


def test_a_sample_is_the_same_wherever_it_lies_in_a_batch():
    data = rows(5)
    one, _ = samples_of(batch_of(data))
    other, _ = samples_of(flat(data))
    assert [a.id for a in one] == [b.id for b in other] and len({a.id for a in one}) == 5
    assert [a.prompt_tokens for a in one] == [row["labels"].count(-100) for row in data]
    left = {name: value.flip(1) for name, value in batch_of([{k: v[::-1] for k, v in row.items()} for row in data]).items()}
    assert [a.id for a in samples_of(left)[0]] == [a.id for a in one]


def test_a_label_on_the_first_token_is_predicted_by_nothing():
    (sample,), empty = samples_of({"input_ids": torch.tensor([[7, 8, 9]]), "labels": torch.tensor([[7, 8, 9]])})
    assert (sample.answer.tolist(), sample.prompt_tokens, empty) == ([1, 2], 1, 0)


def test_rows_without_an_answer_are_no_samples_and_are_counted():
    samples, empty = samples_of({"input_ids": torch.tensor([[7, 8], [5, 6]]), "labels": torch.tensor([[-100, -100], [-100, 6]])})
    assert (len(samples), empty) == (1, 1)


@pytest.mark.parametrize(
    ("batch", "word"),
    [
        ({"input_ids": torch.ones(2, 3)}, "labels"),
        ({"input_ids": torch.ones(1, 3), "labels": torch.ones(1, 4)}, "shape"),
        ({"input_ids": torch.ones(1, 3), "labels": torch.ones(1, 3), "shift_labels": torch.ones(1, 3)}, "context parallelism"),
        ({"input_ids": torch.ones(1, 3), "labels": torch.ones(1, 3), "attention_mask": torch.tensor([[1, 0, 1]])}, "hole"),
        ({"input_ids": torch.ones(1, 3), "labels": torch.ones(1, 3), "attention_mask": torch.ones(1, 1, 3, 3)}, "dimensions"),
    ],
)
def test_batches_without_samples_to_see_are_refused(batch, word):
    with pytest.raises(UnsuitableSetup, match=word):
        samples_of(batch)


# -------------------------------------------------------------------- objective


def asked(task, kl, **more):
    return {"task_weight": task, "kl_weight": kl, "divergence": "ForwardKl", **more}


def test_each_sample_keeps_its_own_weights_over_all_tokens_of_the_step():
    found = objective.token_weights(asked([0.9, 0.1], [0.1, 0.9]), [0, 1, 4])
    assert np.allclose(found.task, [0.225, 0.025, 0.025, 0.025]) and np.allclose(found.kl, [0.025, 0.225, 0.225, 0.225])
    found = objective.token_weights(asked([1.0, 0.5], [1.0, 1.0], token_task_weight=[1.0, 0.5, 2.0], token_kl_weight=[0, 1, 0]), [0, 2, 3])
    assert np.allclose(found.task * 3, [1.0, 0.5, 1.0]) and np.allclose(found.kl * 3, [0, 1, 0])


def test_the_label_divergence_has_the_value_and_the_gradient_of_k2():
    """STAR-DSS: V = .25, CE = 2, ln cur - ln ref = .4, c = .5 gives .53, and by ln cur -V + (1 - V) c * .4 = -.1."""
    weights = objective.TokenWeights(np.array([0.25]), np.array([0.375]))
    objective.label_divergence(weights, np.array([-2.0]), np.array([-2.4]))
    assert math.isclose(weights.task[0], 0.1) and math.isclose(weights.task[0] * 2.0 + weights.constant, 0.53)
    assert not weights.needs_reference


@pytest.mark.parametrize(
    ("ratio", "clip", "value", "slope"),
    [
        (15.0, dict(low=0.1, high=10.0, direction=1.0), 10.0, 0.0),
        (0.05, dict(low=0.1, high=10.0, direction=-1.0), -0.1, 0.0),
        (0.5, dict(low=0.1, high=10.0, direction=1.0), 0.5, 0.5),
        (15.0, dict(low=0.1, high=10.0, direction=1.0, beyond=-0.5), 10.0, -7.5),
    ],
)
def test_a_clipped_ratio_takes_the_place_of_the_loss(ratio, clip, value, slope):
    weights = objective.TokenWeights(np.array([1.0]), np.array([0.0]))
    current = np.array([-1.0])
    clips = [{**clip, "sequence": False, "variance_penalty": 0.0}]
    objective.clip_ratios(weights, clips, [0, 1], current, current - math.log(ratio))
    assert math.isclose(weights.task[0], slope, abs_tol=1e-12)
    # -f, whatever the cross-entropy is.
    assert math.isclose(weights.task[0] * 1.0 + weights.constant, -value, rel_tol=1e-12)


def test_the_variance_penalty_is_one_of_the_whole_step():
    weights = objective.TokenWeights(np.array([0.0, 0.0]), np.zeros(2))
    clips = [dict(low=0.1, high=10.0, direction=1.0, sequence=False, variance_penalty=2.0)]
    objective.clip_ratios(weights, clips, [0, 2], np.array([-1.0, -1.0]), np.array([-1.0, -1.0]))
    assert math.isclose(float(weights.task.sum()) + weights.constant, math.sqrt(2.0**2 + 2.0**2) / 2)


# ------------------------------------------------------------------ chunked loss


@pytest.mark.parametrize("softcap", [None, 5.0])
@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_the_chunked_loss_has_the_value_and_gradient_of_the_whole_one(chunk, softcap):
    torch.manual_seed(1)
    weight = torch.randn(50, 16)
    layer = head.Head(weight, torch.randn(50), 0.7, softcap)
    hidden, reference, labels = torch.randn(7, 16, requires_grad=True), torch.randn(7, 16), torch.randint(0, 50, (7,))
    task, kl = torch.rand(7), torch.rand(7)
    value, entropy, divergence = head.answer_loss(hidden, layer, reference, labels, task, kl, chunk)
    (found,) = torch.autograd.grad(value * 2.0, hidden)
    current, teacher = layer(hidden).log_softmax(-1), layer(reference).log_softmax(-1)
    ce = torch.nn.functional.nll_loss(current, labels, reduction="none")
    both = torch.nn.functional.kl_div(current, teacher, log_target=True, reduction="none").sum(-1)
    (expected,) = torch.autograd.grad((task * ce + kl * both).sum() * 2.0, hidden)
    assert torch.allclose(found, expected, atol=1e-5) and torch.allclose(entropy, ce) and torch.allclose(divergence, both, atol=1e-5)


def test_no_answer_at_all_is_a_zero_that_reaches_the_model():
    hidden = torch.randn(0, 4, requires_grad=True)
    layer = head.Head(torch.randn(9, 4), None, 1.0, None)
    none = torch.zeros(0)
    value, entropy, kl = head.answer_loss(hidden, layer, None, none.long(), none, none, 8)
    value.backward()
    assert float(value.detach()) == 0.0 and hidden.grad.shape == (0, 4) and entropy.numel() == kl.numel() == 0


# ------------------------------------------------------------- what models show


def test_taps_are_the_residual_stream_of_the_model_with_and_without_its_adapter():
    peft_model = adapted(init_lora_weights=False)
    head.let_read(adapters.causal_model(peft_model))
    samples, _ = samples_of(batch_of(rows(3)))
    taps = [("Reference", place, (0, 1, 2)) for place in ("LastPromptToken", "PromptMean", "AnswerMean")]
    reader = Reader(peft_model, 0, 16)
    inputs, placed = padded(samples, 0)
    for off in (True, False):
        shown = reader.read(inputs, placed, taps, reference=off)
        for sample, one in zip(samples, shown):
            with adapters.reading(peft_model, off):
                alone = peft_model(input_ids=sample.tokens[None], output_hidden_states=True)
            # The last of these is behind the final norm, so it is no residual stream.
            states = torch.stack([state[0] for state in alone.hidden_states[:2]])
            prompt = sample.prompt_tokens
            expected = [states[:, prompt - 1], states[:, :prompt].mean(1), states[:, sample.answer].mean(1)]
            for tap, value in zip(taps, expected):
                assert np.allclose(one.taps[tap][:2], value.numpy(), atol=1e-5)
            ce = alone.logits[0, sample.answer - 1].log_softmax(-1).gather(1, sample.labels[:, None])[:, 0]
            assert np.allclose(reader.log_probs([one], [sample]), ce.numpy(), atol=1e-5)
    assert all(module.training for module in peft_model.modules())


def test_the_reference_is_read_once_for_a_sample_and_never_beyond_its_budget():
    peft_model = adapted()
    head.let_read(adapters.causal_model(peft_model))
    batch = batch_of(rows(4))
    samples, _ = samples_of(batch)
    reader = Reader(peft_model, 0, 16)
    for budget, forwards in ((1 << 20, 1), (0, 3)):
        kept = Reference(reader, [], budget)
        first = [kept.of(batch, samples) for _ in range(3)][0]
        again = kept.of(batch, samples[2:])
        assert kept.forwards == forwards + (budget == 0) and kept.bytes <= budget
        assert all(torch.allclose(a.hidden, b.hidden, atol=1e-5) for a, b in zip(first[2:], again))


def test_rows_that_predict_stand_one_before_the_answer():
    samples, _ = samples_of(batch_of(rows(2)))
    assert predicting(samples).position.tolist() == [p - 1 for sample in samples for p in sample.answer.tolist()]
    assert offsets_of(samples)[-1] == sum(sample.answer_tokens for sample in samples)


# ------------------------------------------------------------------ adapters


def test_drift_is_the_norm_of_the_dense_updates_and_its_pull_the_gradient():
    peft_model = adapted(init_lora_weights=False)
    dense = 0.0
    for pair in adapters.pairs(peft_model):
        dense = dense + (pair.scaling * pair.b @ pair.a).square().sum()
    assert math.isclose(adapters.drift(peft_model), math.sqrt(float(dense.detach())), rel_tol=1e-5)
    trained = [one for _, one in adapters.trained(peft_model)]
    expected = torch.autograd.grad(1.5 * dense, trained)
    value = adapters.pull_to_reference(peft_model, 3.0)
    assert math.isclose(value, 1.5 * float(dense.detach()), rel_tol=1e-5)
    for one, gradient in zip(trained, expected):
        assert torch.allclose(one.grad, gradient, rtol=1e-4, atol=1e-5)


def two_active():
    peft_model = adapted()
    peft_model.add_adapter("other", peft_model.peft_config["default"])
    peft_model.base_model.set_adapter(["default", "other"])
    return peft_model


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (model, "no peft adapter"),
        (two_active, "2 adapters are active"),
        (lambda: adapted(modules_to_save=["lm_head"]), "trained beside the adapter"),
        (lambda: adapted(init_lora_weights="pissa"), "init_lora_weights"),
        (lambda: adapted().half(), "float16"),
    ],
)
def test_models_without_a_reference_are_refused(make, word):
    with pytest.raises(UnsuitableSetup, match=word):
        adapters.check(make())


def test_what_was_frozen_of_an_adapter_stays_so_when_the_reference_is_read():
    peft_model = adapted()
    name, one = adapters.trained(peft_model)[0]
    one.requires_grad_(False)
    with adapters.reading(peft_model, reference=True):
        pass
    assert name not in dict(adapters.trained(peft_model))


# ----------------------------------------------------------------- actuators


def stepped(update, said, parameters, optimizer):
    for one in parameters:
        one.grad = torch.ones_like(one)
    rate = update.prepare(said, optimizer)
    optimizer.step()
    update.finish(said, optimizer)
    return rate


def test_actuators_scale_average_and_take_back_an_update():
    names = ["base.layers.0.a", "base.layers.1.a"]
    parameters = [torch.nn.Parameter(torch.zeros(2)) for _ in names]
    optimizer = torch.optim.AdamW(parameters, lr=0.1, weight_decay=0.0)
    update = Update(list(zip(names, parameters)), {"roll-back", "layer-scale", "ema", "anchor"})
    rate = stepped(update, {"learning_rate_scale": 0.5, "layer_scale": [1.0, 0.0], "ema": {"decay": 0.9, "in_path": False}}, parameters, optimizer)
    assert rate == 0.05 and optimizer.param_groups[0]["lr"] == 0.1
    assert torch.allclose(parameters[0], torch.tensor(-0.05)) and parameters[1].abs().max() == 0
    assert torch.allclose(update.average[0], torch.tensor(-0.005))
    kept = [one.detach().clone() for one in parameters]
    stepped(update, {}, parameters, optimizer)
    assert int(optimizer.state[parameters[0]]["step"]) == 2
    update.roll_back(optimizer)
    assert all(torch.equal(one, before) for one, before in zip(parameters, kept))
    assert int(optimizer.state[parameters[0]]["step"]) == 1
    update.roll_back(optimizer)
    assert torch.equal(parameters[0], kept[0]), "there is no way back beyond the last update"
    parameters[0].grad = None
    value = update.pull(None, {"target": "LastSwitch", "strength": 2.0})
    assert math.isclose(value, 2 * 0.05**2, rel_tol=1e-5) and torch.allclose(parameters[0].grad, torch.tensor(-0.1))
    update.close()
    assert torch.allclose(parameters[0], torch.tensor(-0.005))


# ---------------------------------------------------------------------- needs

NOTHING = dict(
    taps=[], judges=[], tokens=[], canary_every=None, trial_scales=[], gradient_conflict=False, drift=False, steering=None,
    calibration=False, actuators=[],
)


@pytest.mark.parametrize(
    ("wanted", "need"),
    [
        ({"judges": [{"judge": "a", "prefix_words": None}]}, "judges' scores"),
        ({"trial_scales": [1.0]}, "trial updates"),
        ({"gradient_conflict": True}, "conflict"),
        ({"actuators": ["alignment-share"]}, "alignment-share"),
        ({"canary_every": 4}, "canary margins"),
        ({"anchors": {"harmful": 1, "harmless": 0, "answer_tokens": 1, "divergence": "ForwardKl"}}, "harmful safety anchors"),
        ({"actuators": ["alignment-extra"]}, "alignment samples"),
    ],
)
def test_needs_that_cannot_be_met_are_refused_with_a_remedy(wanted, need):
    needs.check("p", NOTHING)
    with pytest.raises(UnmetNeed, match=need) as refused:
        needs.check("p", {**NOTHING, **wanted})
    assert refused.value.policy == "p" and refused.value.remedy
    assert gap({"a": torch.zeros(1)}, {"a": torch.zeros(1)}) == 0.0
