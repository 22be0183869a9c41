"""Trainer hides TRL: its trainer with our order, an exact validation loss and what was spent."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrec.models.local import LocalModel
from llmrec.training.batches import Order, collate, text_tokens
from llmrec.training.checkpoints import CHECKPOINTS
from llmrec.training.options import TuningOptions
from llmrec.training.preparing import Prepared, processes, sharded, with_model

if TYPE_CHECKING:
    import torch

__all__ = ["Metric", "answers_only", "make_trainer", "run_trainer"]

Metric = Callable[[LocalModel], Mapping[str, float]]
_SCALES = (
    *("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier"),
    "output_multiplier",
)
_OPTIMISERS = {"adamw": "adamw_torch"}


@cache
def _callbacks() -> tuple[Any, Any]:
    """What counts, and what shows it; made when the libraries are wanted."""
    from transformers import ProgressCallback, TrainerCallback
    from transformers.trainer_callback import ExportableState

    bar: Any = ProgressCallback

    class Costs(TrainerCallback, ExportableState):
        """What was spent up to here; it is part of each checkpoint."""

        def __init__(self) -> None:
            self.tokens = self.answer_tokens = 0
            self.spent = 0.0
            self.began = time.monotonic()
            self.times: list[float] = []

        @property
        def seconds(self) -> float:
            return self.spent + time.monotonic() - self.began

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.times = [time.monotonic()]

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.times.append(time.monotonic())

        def state(self) -> dict[str, Any]:
            names = {"tokens": self.tokens, "answer_tokens": self.answer_tokens}
            return {"args": {}, "attributes": {**names, "spent": self.seconds}}

    class Bar(bar):  # type: ignore[misc]
        """The bar, with the last numbers on it."""

        def on_log(
            self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any
        ) -> None:
            if state.is_world_process_zero and self.training_bar is not None:
                names = ("loss", "eval_loss", args.metric_for_best_model)
                self.shown = getattr(self, "shown", {}) | {
                    k: f"{logs[k]:.3f}" for k in names if k in logs
                }
                self.training_bar.set_postfix(self.shown)

    return Costs, Bar


@cache
def _tuner() -> Any:
    """The trainer."""
    import torch
    from trl.trainer.sft_trainer import SFTTrainer

    base: Any = SFTTrainer  # seen as Any: its internals are not typed
    costs = _callbacks()[0]

    class Tuner(base):  # type: ignore[misc]
        """TRL's trainer, with our order and an exact validation loss."""

        def __init__(self, order: Order, metric: Any, **kwargs: Any) -> None:
            self.order, self.metric = order, metric
            self.sums: Any = None
            super().__init__(**kwargs)

        @property
        def costs(self) -> Any:
            return next(c for c in self.callback_handler.callbacks if isinstance(c, costs))

        def create_model_card(self, *args: Any, **kwargs: Any) -> None:
            """Ours is written at the end."""

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return self.order

        def _run_epoch(self, *, epoch: int, **kwargs: Any) -> None:
            self.order.epoch = epoch
            super()._run_epoch(epoch=epoch, **kwargs)

        def _save_rng_state(self, output_dir: str) -> None:
            super()._save_rng_state(output_dir)
            self.accelerator.wait_for_everyone()  # before the state says that all is there

        def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            places = inputs.get("position_ids")
            tokens = text_tokens(places) if places is not None else inputs["attention_mask"].sum()
            answers = (inputs["labels"] != -100).sum()
            counted = torch.stack([tokens, answers]).to(self.args.device)
            tokens, answers = self.accelerator.reduce(counted).tolist()
            self.costs.tokens += tokens
            self.costs.answer_tokens += answers
            return super().training_step(model, inputs, *args, **kwargs)

        def prediction_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            inputs = self._prepare_inputs(inputs)
            with torch.no_grad(), self.compute_loss_context_manager():
                out = model(**inputs, use_cache=False, fused_lm_head=True)
            both = torch.stack([-out.log_probs.float().sum(1), out.label_mask.sum(1).float()], 1)
            self.sums = self.sums + self.accelerator.gather_for_metrics(both).double().sum(0)
            return out.loss.detach(), None, None

        def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
            self.sums = torch.zeros(2, dtype=torch.double, device=self.args.device)
            done = super().evaluation_loop(*args, **kwargs)
            done.metrics["eval_loss"] = (self.sums[0] / self.sums[1].clamp(min=1)).item()
            if self.metric is not None:
                measured = self.metric(self.accelerator.unwrap_model(self.model))
                done.metrics.update({f"eval_{name}": float(v) for name, v in measured.items()})
            return done

        def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
            if self._metrics["train"]:
                self._metrics["train"]["num_tokens"] = [self.costs.tokens]
            super().log(logs, *args, **kwargs)

    return Tuner


def answers_only(model: Any) -> None:
    """On a CPU, let ``model(..., fused_lm_head=True)`` score the answers' positions alone.

    TRL's own way of it scores every position there, which takes most of the time of a small
    model. Heads that scale their scores are left to it.
    """
    import torch
    from trl.trainer.utils import FusedCausalLMOutput

    config, before = model.config.get_text_config(), model.forward
    if model.device.type != "cpu" or any(getattr(config, name, None) for name in _SCALES):
        return

    @wraps(before)
    def forward(*args: Any, fused_lm_head: bool = False, labels: Any = None, **kwargs: Any) -> Any:
        if not fused_lm_head:
            return before(*args, labels=labels, **kwargs)
        hidden = model.base_model(*args, **kwargs | {"use_cache": False}).last_hidden_state[:, :-1]
        wanted = labels[:, 1:] != -100
        tokens = labels[:, 1:][wanted]
        scores = model.get_output_embeddings()(hidden[wanted]).float().log_softmax(-1)

        def spread(values: torch.Tensor) -> torch.Tensor:
            return values.new_zeros(wanted.shape).masked_scatter(wanted, values)

        log_probs = spread(scores.gather(1, tokens[:, None])[:, 0])
        with torch.no_grad():
            entropy, first = -(scores.exp() * scores).sum(-1), scores.argmax(-1) == tokens
        return FusedCausalLMOutput(
            loss=-log_probs.sum() / wanted.sum().clamp(min=1),
            log_probs=log_probs,
            entropy=spread(entropy),
            is_top1=spread(first),
            label_mask=wanted,
        )

    model.forward = forward


def make_trainer(
    prepared: Prepared, options: TuningOptions, metric: Metric | None, evaluate_first: bool = True
) -> Any:
    """TRL's trainer, set up by the options; its ``costs`` tell what was spent.

    Parameters
    ----------
    evaluate_first: whether the model is evaluated before the first step.
    """
    from datasets import Dataset
    from transformers import EarlyStoppingCallback, PrinterCallback, ProgressCallback

    costs, bar = _callbacks()
    local = prepared.local
    args = _arguments(prepared, options, evaluate_first)
    world = options.batch_size * options.accumulation * processes()
    lengths = [len(s["input_ids"]) for s in prepared.train]
    order = Order(lengths, world, options.seed, options.group_by_length)
    pad = local.tokenizer.pad_token_id
    callbacks = [costs()]
    if options.early_stopping:
        callbacks.append(EarlyStoppingCallback(options.early_stopping))

    def measured(model: Any) -> Mapping[str, float]:
        assert metric is not None
        return metric(with_model(local, model))

    trainer = _tuner()(
        order=order,
        metric=None if metric is None else measured,
        model=local.model,
        args=args,
        data_collator=collate(local.chat.end_ids[0] if pad is None else pad, prepared.packed),
        train_dataset=Dataset.from_list(list(prepared.train)),
        eval_dataset=Dataset.from_list(list(prepared.validation)) if prepared.validation else None,
        processing_class=local.tokenizer,
        callbacks=callbacks,
    )
    if not sharded():
        adapted = trainer.model
        answers_only(adapted.get_base_model() if options.method == "lora" else adapted)
    for kind in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(kind)
    trainer.add_callback(bar())
    for p in trainer.model.parameters():
        if p.requires_grad:
            p.data = p.data.float()  # TRL holds adapters of quantised models in bfloat16
    return trainer


def _arguments(prepared: Prepared, options: TuningOptions, evaluate_first: bool) -> Any:
    import torch
    from trl.trainer.sft_config import SFTConfig

    _stay_local(options)
    evaluated, best = bool(prepared.validation), options.best_by != "none"
    made = SFTConfig(
        output_dir=str(Path(options.out) / CHECKPOINTS),
        per_device_train_batch_size=options.batch_size,
        per_device_eval_batch_size=options.batch_size,
        gradient_accumulation_steps=options.accumulation,
        learning_rate=options.learning_rate,
        lr_scheduler_type=options.schedule,
        warmup_steps=options.warmup,
        num_train_epochs=options.epochs,
        max_steps=options.max_steps or -1,
        weight_decay=options.weight_decay,
        max_grad_norm=options.clip,
        optim=_OPTIMISERS.get(options.optimiser, options.optimiser),
        seed=options.seed,
        bf16=prepared.precision == "bf16",
        fp16=prepared.precision == "fp16",
        use_cpu=not torch.cuda.is_available() and not torch.backends.mps.is_available(),
        gradient_checkpointing=options.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        eval_strategy="steps" if evaluated else "no",
        eval_steps=options.evaluate_every,
        eval_on_start=evaluated and evaluate_first,
        save_strategy="steps",
        save_steps=options.save_every,
        save_total_limit=options.keep + best,
        load_best_model_at_end=evaluated and best,
        metric_for_best_model=f"eval_{options.best_by}" if best else None,
        greater_is_better=options.best_by != "loss" if best else None,
        restore_callback_states_from_checkpoint=True,
        report_to=[] if options.report_to == "none" else [options.report_to],
        project="llmrec",
        run_name=Path(options.out).name,
        logging_steps=min(10, options.evaluate_every),
    )
    made._n_gpu = min(made.n_gpu, 1)  # several GPUs are for several processes
    return made


def _stay_local(options: TuningOptions) -> None:
    """Curves go to a folder beside the result, and nowhere else."""
    folder = Path(options.out).resolve()
    if options.report_to == "tensorboard":
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder / "tensorboard")
    elif options.report_to == "trackio":
        os.environ["TRACKIO_DIR"] = str(folder / "trackio")
        for name in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "TRACKIO_BUCKET_ID"):
            os.environ.pop(name, None)


def run_trainer(trainer: Any, checkpoint: Path | None) -> None:
    """Train to the end, from the checkpoint if there is one, and leave the best in the model."""
    from transformers.trainer_callback import TrainerState

    if checkpoint is None:
        trainer.train()
        return
    state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    control = state.stateful_callbacks.get("TrainerControl", {})
    if not control.get("args", {}).get("should_training_stop"):
        trainer.train(resume_from_checkpoint=str(checkpoint))
        return
    # It was at its end, and was cut off before the result was written.
    trainer.state = state
    trainer._load_callback_state()
    best = Path(state.best_model_checkpoint or checkpoint)
    trainer._load_from_checkpoint(str(best if best.is_dir() else checkpoint))
