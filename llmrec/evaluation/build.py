"""Build hides how options become the system that they name, its model loaded."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmrec.catalog import Catalog
from llmrec.evaluation.baselines import Baseline, Mentions
from llmrec.evaluation.learned import Beside, LearnedSystem
from llmrec.evaluation.options import RunOptions
from llmrec.evaluation.shots import few_shot
from llmrec.evaluation.systems import (
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
    if learned is not None and (options.model == "none" or not learned.model_share):
        return LearnedSystem(name, learned, depth=depth)
    model: Any = _model(options)
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
    strategy = _shown(model, catalog, shots) if shots else None
    if options.grounding == "match":
        return MatchSystem(name, model, catalog, length=options.list_length, strategy=strategy)
    if options.ranker == "none":
        return ModelSystem(name, model, catalog, depth=depth, strategy=strategy)
    if learned is not None:
        return Beside(name, model, catalog, learned, depth=depth, strategy=strategy)
    return RecommenderSystem(name, model, catalog, depth=depth, strategy=strategy)


def _model(options: RunOptions) -> LanguageModel:
    if options.model.startswith(("http://", "https://")):
        from llmrec.models.endpoint import Endpoint

        return Endpoint(options.model)
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
