"""What the options of ``app.py`` add to the page, and whom visitors may compare."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmrec.demo import Extras, embedded_contestants
from llmrec.demo.rivals import contestants, rival_names
from llmrec.errors import InputError, ModelError
from llmrec.models.local import EMBEDDED
from llmrec.recommender import Recommender

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def extras() -> Callable[..., Extras]:
    """What the page is given for these words of a command line."""
    app = runpy.run_path(str(ROOT / "app.py"))

    def made(recommender: Recommender, *words: str) -> Extras:
        options: Any = app["make_parser"]().parse_args(words)
        found: Extras = app["_extras"](options, recommender)
        return found

    return made


def test_without_options_the_embedded_model_competes_with_parts_of_itself(
    recommender: Recommender, extras: Callable[..., Extras]
) -> None:
    found = extras(recommender)
    assert list(found.contestants or {}) == list(embedded_contestants(recommender))
    assert (found.runs, found.feedback, found.uploads) == (None, None, True)
    assert (found.pictures, found.links) == ((), False)
    assert extras(recommender, "--model", "a/b").contestants is None


def test_every_option_gets_to_the_page(
    recommender: Recommender, extras: Callable[..., Extras], tmp_path: Path
) -> None:
    words = ("--runs", str(tmp_path), "--feedback", str(tmp_path / "kept"), "--no-uploads")
    more = ("--pictures", "a.example", "--pictures", "*.b.example", "--list-links")
    found = extras(recommender, *words, *more, "--rival", str(EMBEDDED))
    assert (found.runs, found.uploads, found.links) == (tmp_path, False, True)
    assert found.pictures == ("a.example", "*.b.example")
    assert found.feedback is not None
    found.feedback.close()
    assert list(found.contestants or {}) == ["llmrec-embedded", EMBEDDED.name]


def test_rivals_answer_over_the_catalogue_of_the_page(recommender: Recommender) -> None:
    few = recommender.with_catalog(recommender.catalog)
    found = contestants(few, [str(EMBEDDED)])
    assert found is not None
    own, rival = found.values()
    assert own is few
    assert rival.model is not few.model
    assert rival.catalog is few.catalog
    assert str(EMBEDDED.parent) not in "".join(found)  # visitors see no path of the machine


@pytest.mark.parametrize(
    ("rivals", "options", "sentence"),
    [
        (["a/b", "c/d", "a/b"], {}, "two rivals are called a/b: name each once"),
        (["a/b"], {"source": "a/b"}, "the rival a/b is the model of the page itself: name another"),
        (["llmrec-embedded"], {"embedded": True}, "is the model of the page itself"),
    ],
)
def test_nobody_is_compared_with_itself(
    recommender: Recommender, rivals: list[str], options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        contestants(recommender, rivals, **options)


def test_folders_are_told_apart_by_their_last_part(tmp_path: Path) -> None:
    for name in ("one/tuned", "two/tuned", "three"):
        (tmp_path / name).mkdir(parents=True)
    one, two, three = (str(tmp_path / n) for n in ("one/tuned", "two/tuned/", "three"))
    assert rival_names([one, three, "me/tuned"], ["x"]) == ["tuned", "three", "me/tuned"]
    with pytest.raises(InputError, match=r"two rivals are called tuned: .* in their last part"):
        rival_names([one, two], [])
    with pytest.raises(InputError, match="one/tuned is the model of the page itself"):
        rival_names([one], ["tuned"])


def test_a_rival_that_cannot_be_loaded_says_why(recommender: Recommender, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        contestants(recommender, [str(tmp_path)])
