"""Trainers whose optimizer steps are assessed by policies."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback

from risk_policy import PolicyError

from . import adapters, head, setup, shards, zero
from .errors import UnsuitableSetup
from .settings import Given, settled
from .steps import Steps

logger = logging.getLogger("risk_policy")


class RiskPolicyMixin:
    """Puts policies into a ``transformers.Trainer`` of causal language models with a peft adapter::

        class MyTrainer(RiskPolicyMixin, Trainer): ...

        MyTrainer(model=..., args=..., train_dataset=..., risk_policy="builtin:fixed-kl")

    The loss of a training step is replaced by the objective under the weights that the policies chose, so a subclass must
    not replace ``compute_loss`` for training. Evaluation is left as it is.
    """

    def __init__(self, *args: Any, risk_policy: Given, **kwargs: Any) -> None:
        self._policy_config = settled(risk_policy)
        self._steps: Steps | None = None
        self._zero: zero.Engine | None = None
        self._checkpoint: str | None = None
        self._batches: list[Mapping[str, Any]] = []
        self._micro = 0
        self._own_clip: float | None = None
        self._log_means: dict[str, list[float]] = {}
        super().__init__(*args, **kwargs)
        setup.check_trainer(self)
        adapters.check(self.model)
        shards.check(self, adapters.trained(self.model))
        zero.check(self)
        inner = adapters.causal_model(self.model)
        head.let_read(inner)
        head.check(self.model, inner)
        # N counts the tokens of the whole step.
        self.loss_is_scaled_for_ga = True
        self.add_callback(_Stages(self))

    @property
    def risk_policy_folder(self) -> Path | None:
        """Where journal, manifest and metrics are; known once a training began, on rank 0."""
        return self._steps.records.folder if self._steps is not None and self._steps.records is not None else None

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """As the trainer's own. However it ends, the journal says so.

        Raises ``UnmetNeed`` before the first step for what a policy can't have here, and ``PolicyFault`` before the update
        of the step at which a policy failed."""
        self._steps, self._checkpoint = None, None
        try:
            done = super().train(*args, **kwargs)
        except KeyboardInterrupt:
            self._end("interrupted", "interrupted")
            raise
        except BaseException as error:
            self._end("failed", str(error).splitlines()[0] if str(error) else type(error).__name__)
            raise
        self._end(self._ending(), None)
        return done

    def _ending(self) -> str:
        stopped = self._steps is not None and self._steps.previous is not None and self._steps.previous["action"] == "Stop"
        if stopped:
            return "stopped"
        # A callback may end a training before its last step.
        return "finished" if self.state.global_step >= self.state.max_steps else "early-stop"

    def _end(self, ending: str, error: str | None) -> None:
        steps = self._steps
        if steps is None:
            return
        whole = ending in ("finished", "stopped", "early-stop")
        adapter = self.accelerator.get_state_dict(self.model) if whole and shards.are_in(self.model) else None
        if steps.records is None:
            return
        journal, folder = steps.policies.journal, steps.records.folder
        # Of a step that only some policies were asked about, no run that was whole can say anything.
        journal.end("failed" if steps.policies.half else ending, steps.left())
        if whole:
            self.accelerator.unwrap_model(self.model).save_pretrained(folder / "adapter", state_dict=adapter)
        steps.records.end(ending, error)
        try:
            journal.sign_run()
        except PolicyError as problem:
            if whole:
                raise
            logger.warning("what the run left isn't signed: %s", problem)

    # ------------------------------------------------------------------ where the trainer is stepped into

    def create_accelerator_and_postprocess(self) -> None:
        """Also lets FSDP be had on a CPU."""
        fsdp = shards.asked_for(self.args)
        if getattr(self.args, "use_liger_kernel", False):
            # Before its kernels are put into the classes of the model.
            raise UnsuitableSetup(
                "use_liger_kernel=True puts a fused loss into the model, whose parts policies can't weigh; leave it out: "
                "no whole logits are made here either"
            )
        super().create_accelerator_and_postprocess()
        shards.on_cpu(self, fsdp)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """Also keeps the batches of the optimizer step, which is assessed as one."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._batches, self._micro = batches, 0
        return batches, items

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """Before the first micro-batch of a step the policies are asked; after the last, what holds the model is added."""
        steps = self._steps
        if steps is None:
            raise UnsuitableSetup("a training step without train(); call train()")
        if self._micro == 0:
            step = steps.begin(self.state.global_step, self._batches, self.optimizer.param_groups[0]["lr"])
            self._clip_by(step.asked.get("gradient_clip"))
        step = steps.step
        last = self._micro + 1 == len(self._batches)
        if step.applies:
            loss = super().training_step(model, inputs, num_items_in_batch)
            if last:
                loss = loss + steps.finish()
        else:
            loss = torch.zeros((), device=self.args.device)
            if last and step.asked["action"] == "RollBack":
                steps.update.roll_back(self._optimizer())
        self._micro += 1
        return loss

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """The objective, in training; the trainer's own loss in evaluation."""
        if self._steps is None or self._steps.step is None or not self.model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        # The engine of DeepSpeed would watch over a backward pass of its own.
        return self._steps.loss(self.model if self._zero else model, inputs, self._micro)

    def _clip_grad_norm(self, model: Any) -> Any:
        return super()._clip_grad_norm(model) if self._zero is None else self._zero.clip(self.args.max_grad_norm)

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        if grad_norm is None and self._zero is not None:
            grad_norm = self._zero.clip(0.0)
        found = super()._get_grad_norm(model, grad_norm=grad_norm)
        if self._steps is not None and self._steps.step is not None:
            self._steps.step.gradient_norm = float(found)
        return found

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        self._checkpoint = checkpoint
        super()._load_optimizer_and_scheduler(checkpoint)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """With the means of what the steps since the last line showed."""
        if self._log_means and "loss" in logs:
            logs.update({f"policy/{name}": sum(values) / len(values) for name, values in self._log_means.items()})
            self._log_means = {}
        super().log(logs, *args, **kwargs)

    # ------------------------------------------------------------------ stages of an update

    def _optimizer(self) -> torch.optim.Optimizer:
        return getattr(self.optimizer, "optimizer", self.optimizer)

    def _clip_by(self, limit: float | None) -> None:
        """The clip that a policy asks for, in the place of the run's own; of several policies one may be silent, for which
        the run's own stands, so it is the smaller one."""
        if limit is None:
            return
        self._own_clip = own = self.args.max_grad_norm
        several = len(self._policy_config.choices) > 1 and own > 0
        self.args.max_grad_norm = min(limit, own) if several else limit

    def _begin_training(self) -> None:
        self._zero = None
        if self.is_deepspeed_enabled:
            parameters = [one for _, one in adapters.trained(self.model)]
            self._zero = self.accelerator.deepspeed_engine_wrapped = zero.Engine(self.deepspeed, parameters)
        self._steps = setup.prepare(self, self._policy_config, self._checkpoint)
        if self._checkpoint is not None:
            setup.load_tensors(self._steps, self._checkpoint)

    def _before_update(self) -> None:
        step = self._steps.step
        if step.applies and step.not_applied is None:
            step.learning_rate = self._steps.update.prepare(step.asked, self._optimizer())
            if self._zero is not None:
                self._zero.step()
        elif self._zero is not None:
            self._zero.pass_over()

    def _after_update(self) -> None:
        step = self._steps.step
        if step.applies and step.not_applied is None:
            step.updated = True
            self._steps.update.finish(step.asked, self._optimizer())

    def _end_step(self) -> bool:
        """Whether a policy ends the run."""
        steps = self._steps
        if self._own_clip is not None:
            self.args.max_grad_norm, self._own_clip = self._own_clip, None
        line = steps.close()
        for name in ("risk", "max_risk", "task_weight", "kl_weight", "task_loss", "kl"):
            if line.get(name) is not None:
                self._log_means.setdefault(name, []).append(float(line[name]))
        return steps.previous["action"] == "Stop"


class _Stages(TrainerCallback):
    """Tells a trainer where its loop is."""

    def __init__(self, trainer: RiskPolicyMixin) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer._begin_training()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer._before_update()

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer._after_update()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.trainer._end_step():
            control.should_training_stop = True
            control.should_save = args.save_strategy != "no"

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        steps = self.trainer._steps
        if steps is not None:
            setup.save(steps, Path(args.output_dir) / f"checkpoint-{state.global_step}")

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer._steps.update.close()


class PlainRiskPolicyTrainer(RiskPolicyMixin, Trainer):
    """``transformers.Trainer`` under policies; batches bring ``input_ids`` and ``labels``."""


try:
    from trl import SFTTrainer
except ImportError:
    SFTTrainer = None

if SFTTrainer is not None:

    class RiskPolicyTrainer(RiskPolicyMixin, SFTTrainer):
        """TRL's ``SFTTrainer`` under policies, with the argument ``risk_policy`` beside its own."""
