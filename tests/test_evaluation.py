"""The recall that chooses checkpoints: by hand, and the one that an evaluation gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import evaluated
import numpy as np
import pytest

from llmrec.catalog import Catalog
from llmrec.datasets import folder as folders
from llmrec.decoding import rank_titles, title_trie
from llmrec.errors import InputError
from llmrec.evaluation.aggregate import aggregate
from llmrec.evaluation.options import RunOptions
from llmrec.evaluation.running import run
from llmrec.evaluation.systems import ModelSystem
from llmrec.metrics.significance import ratio_interval
from llmrec.models.local import LocalModel
from llmrec.models.profile import Profile
from llmrec.models.scripted import ScriptedModel
from llmrec.recommender import Recommender
from llmrec.training.options import TuningOptions
from llmrec.types import Conversation, Example, Item, Message
from train.lora import recall_of

TURNS = Profile(lead="rules-only", detail="turns", writes=False)


class Scripted(ScriptedModel):
    """A scripted model that is told what was said."""

    profile = TURNS


class Given(evaluated.Talks):
    """A source of these examples for validation."""

    def __init__(self, *examples: Example) -> None:
        super().__init__()
        self._given = examples

    def examples(self, split: str = "train") -> Iterator[Example]:
        """See ``Source``."""
        return iter(self._given) if split == "validation" else super().examples(split)


def example(*relevant: str, named: tuple[str, ...] = (), dialogue: str = "1") -> Example:
    talk = Conversation((Message("user", "something good", named),), language="en")
    return Example(talk, relevant, id=f"{dialogue} {relevant}", dialogue=dialogue)


def tuned_on(data: Path, limit: int = 100) -> TuningOptions:
    return TuningOptions(data=str(data), detail="turns", validation_limit=limit)


def test_recall_by_hand(tmp_path: Path) -> None:
    cases = (
        example("coco", "alien", named=("coco",)),  # alien is new, and found
        example(
            "speed", "secret", dialogue="2"
        ),  # speed is found, and the last title of all is not
        example("coco", named=("coco",), dialogue="3"),  # nothing new: left out
        example("nowhere", dialogue="4"),  # in no catalogue: left out
        example("speed", named=("speed", "coco"), dialogue="5"),
    )
    folders.write(Given(*cases), tmp_path / "data", progress=False)
    folders.write(Given(cases[3]), tmp_path / "none", progress=False)
    model = Scripted(likes={"Coco": 0.5, "Alien": 0.3, "Speed": 0.2})
    assert model.profile is TURNS
    found = recall_of(tuned_on(tmp_path / "data"))(model)  # type: ignore[arg-type]
    assert found["recall@10"] == 2 / 3
    assert (found["recall@10_low"], found["recall@10_high"]) == (1 / 2, 1)  # two dialogues
    assert found["recall@10_n"] == 2
    assert model.profile is TURNS
    first = recall_of(tuned_on(tmp_path / "data", limit=1))(model)  # type: ignore[arg-type]
    assert (first["recall@10"], first["recall@10_n"]) == (1, 1)
    with pytest.raises(InputError, match="no example has a target in the catalogue"):
        recall_of(tuned_on(tmp_path / "none"))


def test_the_recall_of_training_is_that_of_an_evaluation(tmp_path: Path) -> None:
    data = evaluated.data(tmp_path / "data")
    model = LocalModel.from_pretrained(evaluated.model(tmp_path / "model"), device="cpu")
    found = recall_of(tuned_on(data))(model)
    options = RunOptions(
        data=str(data), model=str(tmp_path / "model"), out=str(tmp_path / "run"), threads=1
    )
    said = aggregate(run(options, progress=False, reports=False))
    right = said["systems"][options.system]["new"]["recall@10"]
    told = {"value": "", "low": "_low", "high": "_high", "n": "_n"}
    assert right == pytest.approx({k: found[f"recall@10{end}"] for k, end in told.items()})
    assert right["low"] < right["value"] < right["high"]
    # The same where each example is ranked alone, among the items that were not mentioned.
    catalog = Catalog.from_items(folders.Folder.open(data).items())
    recommender = Recommender(model, catalog, profile=TURNS)
    trie = title_trie(model, catalog.labels)
    hits, sizes, groups = [], [], []
    for e in folders.Folder.open(data).examples("validation"):
        known = e.conversation.mentioned
        if wanted := set(catalog.rows([i for i in e.relevant if i not in known])):
            allowed = np.setdiff1d(np.arange(len(catalog)), catalog.rows(known))
            prompt = recommender.prompt_ids(e.conversation)
            (ranking,) = rank_titles(model, [prompt], trie, 10, allowed=allowed)
            hits.append(len(wanted & set(ranking.rows.tolist())))
            sizes.append(len(wanted))
            groups.append(e.dialogue)
    by_hand = ratio_interval(np.array(hits), np.array(sizes), groups)
    assert by_hand == tuple(found[f"recall@10{end}"] for end in ("", "_low", "_high"))


def test_items_that_share_a_title_are_told_apart_by_their_year() -> None:
    films = [Item("old", "It", 1990), Item("new", "It", 2017), Item("heat", "Heat", 1995)]
    catalog = Catalog.from_items(films)
    assert catalog.labels == ["It (1990)", "It (2017)", "Heat"]
    likes = {"It (2017)": 0.6, "Heat": 0.3, "It (1990)": 0.1}
    (made,) = ModelSystem("x", Scripted(likes=likes), catalog, depth=3).predictions([example()])
    assert made.items == ("new", "heat", "old")
