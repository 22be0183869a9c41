"""Build hides how options become the system that they name, its model loaded."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmrec.catalog import Catalog
from llmrec.evaluation.baselines import Baseline, Mentions
from llmrec.evaluation.choices import Noted
from llmrec.evaluation.learned import Beside, LearnedSystem
from llmrec.evaluation.options import RunOptions
from llmrec.evaluation.shots import few_shot
from llmrec.evaluation.systems import (
    ChoosingSystem,
    MatchSystem,
    ModelSystem,
    RecommenderSystem,
    SamplingSystem,
    System,
    fitting_shots,
)
from llmrec.models.profile import Profile
from llmrec.ranker import LearnedRanker
from llmrec.recommender import Recommender
from llmrec.types import Example

if TYPE_CHECKING:
    from llmrec.models.base import LanguageModel
    from llmrec.prompting import Strategy

__all__ = ["build_system"]

_CACHE_MB = 4_096  # of what prompts begin with; systems forget the rest of it with every batch


def build_system(
    options: RunOptions, catalog: Catalog, mentions: Mentions, shots: Sequence[Example] = ()
) -> System:
    """The system that the options name. Raises LLMRecError."""
    name, depth = options.system, max(options.ks)
    if options.baseline:
        return Baseline(options.baseline, mentions, depth=depth, seed=options.seed)
    learned = None if options.ranker in ("none", "linear") else LearnedRanker.find(options.ranker)
    if (
        learned is not None
        and not options.chooses
        and (options.model == "none" or not learned.model_share)
    ):
        return LearnedSystem(name, learned, depth=depth)
    model = _model(options)
    system = _asking(options, model, learned, catalog, shots)
    if options.noted:
        return Noted(system, model, options.out, afresh=options.restart)
    return system


def _asking(
    options: RunOptions,
    model: Any,
    learned: LearnedRanker | None,
    catalog: Catalog,
    shots: Sequence[Example],
) -> System:
    """The system in which the model is asked."""
    name, depth = options.system, max(options.ks)
    if options.strategy == "sampling":
        return SamplingSystem(
            name,
            model,
            catalog,
            lists=options.lists,
            length=options.list_length,
            temperature=options.temperature,
            seed=options.seed,
        )
    if options.chooses:
        return ChoosingSystem(
            name, model, catalog, depth=depth, length=options.list_length, ranker=learned
        )
    strategy = _shown(model, catalog, shots) if shots else None
    if options.grounding == "match":
        return MatchSystem(name, model, catalog, length=options.list_length, strategy=strategy)
    if options.ranker == "none":
        return ModelSystem(name, model, catalog, depth=depth, strategy=strategy)
    if learned is not None:
        return Beside(name, model, catalog, learned, depth=depth, strategy=strategy)
    return RecommenderSystem(name, model, catalog, depth=depth, strategy=strategy)


def _model(options: RunOptions) -> LanguageModel:
    if options.served:
        from llmrec.models.endpoint import Endpoint

        price = (options.price_read, options.price_written)
        return Endpoint(
            options.model,
            model=options.server_model,
            adapter=options.adapter,
            price=price if any(price) else None,
            concurrency=options.batch_size,
        )
    from llmrec.models.local import LocalModel

    return LocalModel.from_pretrained(
        None if options.model == "embedded" else options.model,
        adapter=options.adapter,
        revision=options.revision,
        device=_device(),
        quantization=None if options.quantization == "none" else options.quantization,  # type: ignore[arg-type]
        chat_template_from=options.chat_template_from,
        batch_size=max(options.batch_size, options.lists),
        prefix_cache_mb=_CACHE_MB,
    )


def _device() -> str:
    import torch

    several = "LOCAL_RANK" in os.environ and torch.cuda.device_count() > 1
    return f"cuda:{int(os.environ['LOCAL_RANK'])}" if several else "auto"


def _shown(model: LanguageModel, catalog: Catalog, shots: Sequence[Example]) -> Strategy:
    profile = getattr(model, "profile", None) or Profile()
    grounding: Any = "constrained" if hasattr(model, "prefill") else "match"
    asking = Recommender(model, catalog, grounding=grounding, profile=profile)
    made = few_shot(asking, shots, profile.detail)
    fitting = fitting_shots(model, made)
    if len(fitting.shots) < len(made.shots):
        print(
            f"{model.name} reads too little for {len(made.shots)} shots: the last "
            f"{len(fitting.shots)} of them remain",
            file=sys.stderr,
        )
    return fitting
