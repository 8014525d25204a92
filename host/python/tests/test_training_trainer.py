"""Whole trainings under policies that come with the package, beside the trainers that they extend."""

import json
import pathlib
import subprocess
import sys

import pytest

from training_setup import adapted, gap, lines, model, rows, tokenizer, torch, trainer, transformers, weights

import risk_policy
from risk_policy.training import PlainRiskPolicyTrainer, PolicyChoice, RiskPolicyConfig, UnmetNeed, UnsuitableSetup

KL = PolicyChoice("builtin:fixed-kl", {"kl_weight": 0.3})
PROMPTS = ["w1 w2 w3", "w4 w5", "w6 w7 w8 w9"]


@pytest.fixture
def key(tmp_path):
    """A journal's key that isn't the person's own."""
    path = tmp_path / "journal.key"
    risk_policy.create_key(path)
    return path


def config(key, *policies, **fields):
    return RiskPolicyConfig(list(policies) or [KL], key=key, **fields)


def everything(key):
    """Signals and actuators of several kinds: safety anchors, canary, log-probabilities, drift."""
    return config(
        key, "builtin:target-kl", KL, "builtin:constrained-sft", canary=PROMPTS, refusal="w1 w2", compliance="w3",
        anchors_harmful=PROMPTS, anchors_harmless=PROMPTS[::-1],
    )


def trained(folder, policy, **fields):
    one = trainer(folder, policy, **fields)
    one.train()
    return one


def reported(one):
    return [line["loss"] for line in one.state.log_history if "loss" in line]


def test_under_sft_a_trainer_trains_as_it_does_without_a_policy(tmp_path, key):
    plain = trained(tmp_path / "plain", None)
    under = trained(tmp_path / "sft", config(key, "builtin:sft"))
    assert gap(weights(plain), weights(under)) < 1e-5
    assert reported(plain) == pytest.approx(reported(under), abs=1e-5)
    assert under._steps.reference.forwards == 0, "no KL weight, so nothing is to be read of the reference"


@pytest.mark.parametrize("fields", [dict(batch=2, accumulate=2), dict(batch=1, accumulate=4), dict(padding_free=True, max_length=None), dict(gradient_checkpointing=True)])
def test_how_a_step_is_split_and_laid_out_changes_nothing(tmp_path, key, fields):
    whole = trained(tmp_path / "whole", everything(key))
    parts = trained(tmp_path / "parts", everything(key), **fields)
    assert gap(weights(whole), weights(parts)) < 1e-3
    for one, other in zip(lines(whole), lines(parts), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-4) and one["answer_tokens"] == other["answer_tokens"]
    assert len(lines(parts)) == 6, "one assessment per optimizer step"


def test_the_kl_holds_the_model_to_the_reference(tmp_path, key):
    free = trained(tmp_path / "free", config(key, "builtin:sft"))
    held = trained(tmp_path / "held", config(key, PolicyChoice("builtin:fixed-kl", {"kl_weight": 10.0, "task_weight": 1.0})))
    from risk_policy.training.adapters import drift

    assert drift(held.model) < drift(free.model)
    assert lines(held)[0]["kl"] == pytest.approx(0.0, abs=1e-6) and lines(held)[-1]["kl"] > 0.0


def test_the_reference_is_read_in_the_first_epoch_alone(tmp_path, key):
    one = trained(tmp_path, config(key), steps=12)
    assert one._steps.reference.forwards == 6
    none = trained(tmp_path / "none", config(key, reference_cache_mib=0), steps=12)
    assert none._steps.reference.forwards == 12 and gap(weights(one), weights(none)) < 1e-5


def test_a_journal_of_a_training_replays(tmp_path, key):
    one = trained(tmp_path, everything(key))
    folder = one.risk_policy_folder
    found = risk_policy.replay(folder / "journal")
    assert found["passed"] and found["replay"]["replayed"] == 18
    manifest = json.loads((folder / "manifest.json").read_text())
    made_of = json.loads((folder / "trainer.json").read_text())
    assert manifest["status"] == "finished" and [p["name"] for p in made_of["policies"]] == ["target-kl", "fixed-kl", "constrained-sft"]


def verdict(host, folder):
    done = subprocess.run([host, "audit", "--run", folder, "--json"], capture_output=True, text=True)
    told = json.loads(done.stdout)
    return done.returncode, told["verdict"], told["findings"]


def test_the_program_vouches_for_the_adapter_that_a_training_left(tmp_path, key, host):
    folder = trained(tmp_path, everything(key)).risk_policy_folder
    assert verdict(host, folder) == (0, "passed", [])
    adapter = folder / "adapter/adapter_model.safetensors"
    made_of = folder / "trainer.json"
    for path, pattern in ((adapter, b"x"), (made_of, b" "), (folder / "metrics.jsonl", b"{}\n")):
        before = path.read_bytes()
        path.write_bytes(before + pattern)
        assert verdict(host, folder)[:2] == (4, "failed"), path
        path.write_bytes(before)
    assert verdict(host, folder) == (0, "passed", [])


def test_a_plain_trainer_trains_under_a_policy_as_that_of_trl_does(tmp_path, key):
    def collate(part):
        width = max(len(row["input_ids"]) for row in part)
        fill = lambda row, name, value: row[name] + [value] * (width - len(row[name]))  # noqa: E731
        mask = [[1] * len(row["input_ids"]) + [0] * (width - len(row["input_ids"])) for row in part]
        filled = {"input_ids": [fill(row, "input_ids", 0) for row in part], "labels": [fill(row, "labels", -100) for row in part]}
        return {name: torch.tensor(values) for name, values in {**filled, "attention_mask": mask}.items()}

    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "plain"), per_device_train_batch_size=4, max_steps=6, learning_rate=5e-3, report_to=[], use_cpu=True,
        save_strategy="no", disable_tqdm=True, train_sampling_strategy="sequential", logging_steps=1,
    )
    plain = PlainRiskPolicyTrainer(
        model=adapted(), args=arguments, train_dataset=rows(), data_collator=collate, processing_class=tokenizer(), risk_policy=everything(key)
    )
    plain.train()
    under = trained(tmp_path / "trl", everything(key))
    assert gap(weights(plain), weights(under)) < 1e-5


def test_what_a_training_is_told_wrong_is_one_kind_of_error(tmp_path, key):
    for given, says in [
        (RiskPolicyConfig([]), "names no policy"),
        (RiskPolicyConfig(["builtin:sft"], chunk=0), "chunk is 0"),
        (RiskPolicyConfig(["builtin:sft"], on_fault="never"), "on_fault is 'never'"),
    ]:
        with pytest.raises(UnsuitableSetup, match=says):
            trainer(tmp_path, given)
    trained(tmp_path, config(key, "builtin:sft", output=tmp_path / "records"), steps=1)
    with pytest.raises(UnsuitableSetup, match="is there already"):
        trained(tmp_path, config(key, "builtin:sft", output=tmp_path / "records"), steps=1)
    for error in (UnsuitableSetup, risk_policy.training.NotFinite):
        assert issubclass(error, risk_policy.PolicyError)


def test_a_broken_rule_stops_before_the_update(tmp_path, key):
    one = trainer(tmp_path, config(key, "builtin:sft", require=["kl_weight >= 0.5"]))
    before = weights(one)
    with pytest.raises(risk_policy.PolicyFault):
        one.train()
    assert gap(before, weights(one)) == 0.0
    assert json.loads((one.risk_policy_folder / "manifest.json").read_text())["status"] == "failed"
    assert risk_policy.replay(one.risk_policy_folder / "journal")["verified"]["findings"] == []


def test_a_fault_can_be_stood_in_for_by_the_strictest_assessment(tmp_path, key):
    one = trainer(tmp_path, config(key, "builtin:sft", require=["kl_weight >= 0.5"], on_fault="strict=2"))
    with pytest.raises(risk_policy.PolicyFault):
        one.train()
    assert [line["kl_weight"] for line in lines(one)] == [1.0, 1.0], "two steps held to the reference, and the third ends the run"


@pytest.mark.parametrize(
    ("policy", "word"),
    [
        (PolicyChoice("builtin:judge"), "judge"),
        ("builtin:safepred", "trial|canary"),
        ("builtin:safegrad", "gradient"),
        ("builtin:self-guard", "steering"),
        ("builtin:target-kl", "anchors"),
        ("builtin:probe", "calibration"),
    ],
)
def test_what_a_policy_cannot_have_is_refused_before_the_first_step(tmp_path, key, policy, word):
    one = trainer(tmp_path, config(key, policy))
    with pytest.raises(risk_policy.PolicyError, match=word) as refused:
        one.train()
    assert isinstance(refused.value, (risk_policy.UnmetNeed, risk_policy.SettingsError))
    assert one.state.global_step == 0 and not (tmp_path / "out/risk_policy").exists()


def test_an_unmet_need_names_need_and_remedy(tmp_path, key):
    with pytest.raises(UnmetNeed) as refused:
        trainer(tmp_path, config(key, "builtin:target-kl")).train()
    assert "anchors" in refused.value.need and "RiskPolicyConfig" in refused.value.remedy and refused.value.policy == "target-kl"


def test_a_probe_is_fitted_on_labelled_prompts(tmp_path, key):
    labelled = [(f"w{10 + i} w{20 + i} {'w7 w7' if i % 2 else 'w8 w8'}", bool(i % 2)) for i in range(40)]
    one = trained(tmp_path, config(key, "builtin:probe", labelled=labelled))
    assert (one.risk_policy_folder / "probe.calibration.json").is_file()
    risks = [line["risk"] for line in lines(one)]
    assert all(0.0 < risk < 1.0 for risk in risks) and len(set(risks)) == len(risks)
    again = trained(tmp_path / "again", config(key, PolicyChoice("builtin:probe", calibration=one.risk_policy_folder / "probe.calibration.json")))
    assert [line["risk"] for line in lines(again)] == risks


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        (dict(model=model()), "no peft adapter"),
        (dict(packing=True, packing_strategy="wrapped"), "packing without position ids"),
        (dict(loss_type="dft"), "loss_type"),
        (dict(label_smoothing_factor=0.1), "label_smoothing"),
    ],
)
def test_setups_that_cannot_be_trained_under_a_policy_are_refused(tmp_path, key, fields, word):
    with pytest.raises(UnsuitableSetup, match=word):
        trainer(tmp_path, config(key), **fields)


def test_a_step_without_a_token_to_learn_says_so(tmp_path, key):
    empty = [{"input_ids": row["input_ids"], "labels": [-100] * len(row["labels"])} for row in rows()]
    with pytest.raises(UnsuitableSetup, match="labels are -100"):
        trainer(tmp_path, config(key), data=empty).train()


def test_a_training_that_goes_on_from_a_checkpoint_ends_as_one_that_was_never_left(tmp_path, key):
    fields = dict(save_strategy="steps", save_steps=3)
    whole = trained(tmp_path / "whole", everything(key), **fields)
    left = trainer(tmp_path / "left", everything(key), **fields)

    class Leave(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            if state.global_step == 4:
                raise KeyboardInterrupt

    left.add_callback(Leave())
    with pytest.raises(KeyboardInterrupt):
        left.train()
    folder = left.risk_policy_folder
    assert json.loads((folder / "manifest.json").read_text())["status"] == "interrupted"
    again = trainer(tmp_path / "left", everything(key), **fields)
    again.train(resume_from_checkpoint=str(tmp_path / "left/out/checkpoint-3"))
    assert gap(weights(whole), weights(again)) < 1e-6
    assert [line["loss"] for line in lines(whole)] == [line["loss"] for line in lines(again)]
    assert again.risk_policy_folder == folder and risk_policy.replay(folder / "journal")["passed"]


def test_a_fault_on_the_asking_process_ends_both(tmp_path, key):
    script = tmp_path / "script.py"
    tests = str(pathlib.Path(__file__).parent)
    script.write_text(
        f"import pathlib, sys\nsys.path.insert(0, {tests!r})\nimport risk_policy\nfrom training_setup import trainer\n"
        "from test_training_trainer import config\n"
        f"one = trainer(pathlib.Path({str(tmp_path)!r}), config({str(key)!r}, 'builtin:sft', require=['kl_weight >= 0.5']), batch=2)\n"
        "try:\n    one.train()\nexcept risk_policy.PolicyFault as fault:\n    print('FAULT', one.args.process_index, fault, flush=True)\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("FAULT") == 2
