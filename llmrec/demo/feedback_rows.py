"""FeedbackRows hides what a line of kept feedback is: a mark or a vote, with what was asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from llmrec.records import Problem, json_rows
from llmrec.types import Conversation, Item, Preferences
from llmrec.wishes import Things

if TYPE_CHECKING:
    from llmrec.recommender import Recommender

__all__ = [
    "CHOICES",
    "OPINIONS",
    "REASONS",
    "SCHEMA",
    "Asked",
    "Choice",
    "Marked",
    "Voted",
    "files_in",
    "rows_of",
]

SCHEMA = 1
Choice = Literal["a", "b", "equal", "bad"]
CHOICES: tuple[Choice, ...] = get_args(Choice)
REASONS = ("fit", "new", "variety", "wrong", "seen", "words")
OPINIONS = ("like", "dislike", "none")


@dataclass(frozen=True)
class Asked:
    """What was asked when a list was shown.

    Attributes
    ----------
    conversation: up to the message that asked. preferences: what was understood.
    titles: what the catalogue calls each item that rows name, one name an item.
    """

    conversation: Conversation
    preferences: Preferences
    titles: Mapping[str, str]
    things: Things = "films"

    @classmethod
    def of(
        cls,
        recommender: Recommender,
        conversation: Conversation,
        preferences: Preferences,
        shown: Iterable[Item],
    ) -> Asked:
        """With the names of what was shown and what the preferences hold."""
        p = preferences
        ids = tuple(dict.fromkeys((*(i.id for i in shown), *p.similar_to, *p.likes, *p.dislikes)))
        labels = recommender.catalog.labels
        rows = recommender.catalog.rows(ids).tolist()
        titles = {i: labels[r] for i, r in zip(ids, rows, strict=True)}
        return cls(conversation, p, titles, recommender.things)

    def to_dict(self) -> dict[str, Any]:
        """As a row has it: lists in the place of mappings, whose keys would differ by row."""
        return {
            "things": self.things,
            "conversation": self.conversation.to_dict(),
            "preferences": self.preferences.to_dict(),
            "titles": [{"id": i, "title": t} for i, t in self.titles.items()],
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Asked:
        """Raises ValueError, KeyError or TypeError for what does not fit."""
        titles = {str(t["id"]): str(t["title"]) for t in row["titles"]}
        things: Things = "products" if row.get("things") == "products" else "films"
        conversation = Conversation.of(Conversation.from_dict(row["conversation"]))
        return cls(conversation, Preferences.from_dict(row["preferences"]), titles, things)


@dataclass(frozen=True)
class Marked:
    """That an item was liked or disliked, or that this was taken back."""

    id: str
    visit: str
    asked: Asked
    item: str
    mark: str


@dataclass(frozen=True)
class Voted:
    """Which of two lists was better: their names and items, and the choice."""

    id: str
    visit: str
    asked: Asked
    a: tuple[str, tuple[str, ...]]
    b: tuple[str, tuple[str, ...]]
    choice: str


def files_in(folder: Path | None) -> list[Path]:
    """The files of a folder of feedback, the oldest first."""
    return [] if folder is None else sorted(folder.glob("feedback-*.jsonl"))


def rows_of(file: Path, problems: list[Problem]) -> Iterator[Marked | Voted]:
    """The rows of a file; what cannot be read goes into ``problems``."""
    with file.open("rb") as raw:
        for line, row in json_rows(raw):
            try:
                if isinstance(row, str):
                    raise ValueError(row)
                read = _row(row)
            except (ValueError, LookupError, TypeError, AttributeError) as e:
                said = f"it has no {e}" if isinstance(e, KeyError) else str(e)
                problems.append(Problem(file.name, line, said))
                continue
            if read is not None:
                yield read


def _row(row: Mapping[str, Any]) -> Marked | Voted | None:
    """None for the line that stands for deleted ones."""
    schema, kind = row["schema"], row["kind"]
    if schema != SCHEMA:
        raise ValueError(f"its schema is {schema!r}: {SCHEMA} is read")
    if kind == "deleted":
        return None
    own, visit, asked = str(row["id"]), str(row["visit"]), Asked.from_dict(row)
    if kind == "mark":
        item, mark = row["item"], row["mark"]
        _among("mark", mark, OPINIONS)
        _among("item", item, asked.titles)
        return Marked(own, visit, asked, item, mark)
    if kind == "vote":
        _among("vote", row["vote"], CHOICES)
        a, b = (_side(row[side], asked) for side in ("a", "b"))
        return Voted(own, visit, asked, a, b, row["vote"])
    raise ValueError(f"its kind is {kind!r}: 'mark' and 'vote' are read")


def _side(side: Mapping[str, Any], asked: Asked) -> tuple[str, tuple[str, ...]]:
    for i in side["items"]:
        _among("item", i, asked.titles)
    return str(side["name"]), tuple(side["items"])


def _among(name: str, value: Any, allowed: Iterable[str]) -> None:
    if value not in allowed:
        raise ValueError(f"its {name} is {value!r}, which its row does not allow")
