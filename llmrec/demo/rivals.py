"""Rivals hides whom visitors of a page compare blind: what they are called, and how they load."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

from llmrec.errors import InputError
from llmrec.ranker.linear import LinearRanker
from llmrec.recommender import Recommender

__all__ = ["contestants", "embedded_contestants", "over", "rival_names"]


def contestants(
    recommender: Recommender,
    rivals: Sequence[str] = (),
    *,
    source: str | None = None,
    embedded: bool = False,
    quantization: Literal["4bit", "8bit"] | None = None,
) -> dict[str, Recommender] | None:
    """A page's own recommender and its rivals over the same catalogue, by the names visitors see.

    Without rivals, the embedded model competes with what it is without some of its signals, and
    another model with nobody: None.

    Parameters
    ----------
    rivals: Hub ids or folders of models, or of LoRA adapters that name their base.
    source: the Hub id or folder that the page's own model, or its adapter, came from.
    embedded: whether that is the one that comes with llmrec.
    quantization: of the rivals' weights.

    Raises
    ------
    InputError: a rival is the page's own model, or two have one name.
    LLMRecError: a rival cannot be loaded.
    """
    if not rivals:
        return embedded_contestants(recommender) if embedded else None
    own = recommender.model.name
    names = rival_names(rivals, {own} if source is None else {own, _name(source)})
    out = {own: recommender}
    for name, rival in zip(names, rivals, strict=True):
        out[name] = Recommender.from_pretrained(
            rival, catalog=recommender.catalog, quantization=quantization
        )
    return out


def rival_names(rivals: Sequence[str], taken: Collection[str]) -> list[str]:
    """What visitors get to read of each rival: its Hub id, or the last part of its folder.

    Parameters
    ----------
    taken: what the page's own model is called.

    Raises
    ------
    InputError: a rival is the page's own model, or two have one name.
    """
    out: list[str] = []
    for rival in rivals:
        name = _name(rival)
        if name in taken:
            raise InputError(
                f"the rival {rival} is the model of the page itself: name another one, or leave "
                "it out"
            )
        if name in out:
            raise InputError(
                f"two rivals are called {name}: name each once, and let folders differ in their "
                "last part"
            )
        out.append(name)
    return out


def _name(source: str) -> str:
    place = Path(source)
    return place.resolve().name if place.is_dir() else source


def over(contestants: Mapping[str, Recommender], other: Recommender) -> dict[str, Recommender]:
    """The contestants over the catalogue of another recommender, whose reading they share."""
    return {name: _beside(other, c.with_catalog(other.catalog)) for name, c in contestants.items()}


def embedded_contestants(recommender: Recommender) -> dict[str, Recommender]:
    """Four that differ in what they listen to, with the model and the catalogue of the one given.

    "all signals" is the recommender itself; "model alone" asks only the model which titles fit;
    "popularity alone" asks no model; "lesser known" turns popularity around.

    Raises
    ------
    ModelError: the model gives no token probabilities.
    """
    nothing = dict.fromkeys(("model", "similar", "keywords", "text", "popularity", "disliked"), 0.0)
    weights = {
        "model alone": LinearRanker(**{**nothing, "model": 1.0}),
        "popularity alone": LinearRanker(**{**nothing, "popularity": 1.0}),
        "lesser known": LinearRanker(popularity=-LinearRanker.popularity),
    }
    made = {
        name: _beside(recommender, Recommender(recommender.model, recommender.catalog, ranker=r))
        for name, r in weights.items()
    }
    return {"all signals": recommender, **made}


def _beside(reader: Recommender, made: Recommender) -> Recommender:
    """With the understander of another, whose lexicon takes time and memory to make."""
    made.understander = reader.understander
    return made
