"""People hides how the people of a catalogue are found by their names, and by parts of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from llmrec.arrays import Arrays, Known, Numbering, Texts, numbers, ragged
from llmrec.titles import TitleIndex, arranged, article_first, fold, with_look_alikes

__all__ = ["Credits", "People"]

_NAME_SUFFIXES = frozenset({"jr", "junior", "filho", "neto", "sr", "ii", "iii", "iv"})
_PARTICLES = frozenset(
    {"de", "del", "di", "da", "dos", "von", "van", "la", "le", "der", "den", "al"}
)
_RUN_TOGETHER = re.compile(r"di|de|mac|mc")
_RIVALS = 3  # people that a part of a name may mean
_LEADING = 3  # of an item's people, of whom it says most
_KNOWN = 1.0  # credit from which a surname is known when misspelt
_LONG = 7  # letters that such a surname has

_Ints = npt.NDArray[np.integer[Any]]


class Credits:
    """Who made and played how much, gathered over all items."""

    def __init__(self) -> None:
        self._number = Numbering()
        self._people: list[_Ints] = [np.zeros(0, dtype=np.int32)]
        self._credit: list[npt.NDArray[np.float64]] = [np.zeros(0)]

    def add(
        self,
        directors: Sequence[Sequence[str]],
        cast: Sequence[Sequence[str]],
        popularity: Sequence[float],
    ) -> None:
        """Some more items."""
        own = [dict.fromkeys((*d, *c)) for d, c in zip(directors, cast, strict=True)]
        sizes = np.fromiter(map(len, own), dtype=np.int64, count=len(own))
        self._people.append(self._number.of(chain.from_iterable(own), int(sizes.sum())))
        leads = ragged(np.zeros_like(sizes), sizes) < _LEADING
        fame = np.repeat(np.asarray(popularity, dtype=np.float64), sizes)
        self._credit.append(0.1 + fame * np.where(leads, 1.0, 0.6))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What People is made of."""
        every = np.concatenate(self._people)
        credit: npt.NDArray[Any] = np.bincount(
            every, np.concatenate(self._credit), minlength=len(self._number)
        )
        order = np.argsort(-credit, kind="stable")
        names = list(self._number)
        people, weight = [names[i] for i in order.tolist()], credit[order]
        told, folded = Texts.of(people), [fold(p) for p in people]
        return {
            "names": told.data,
            "ends": told.ends,
            "weight": weight,
            **{f"index_{name}": array for name, array in _index(people, folded).items()},
            **_parts(people, folded, weight),
        }


def _index(people: Sequence[str], folded: Sequence[str]) -> Arrays:
    keys = [fold(article_first(p)) if "," in p else f for p, f in zip(people, folded, strict=True)]
    rows = np.array([row for row, key in enumerate(keys) if key], dtype=np.int32)
    none = np.zeros(0)
    texts = Texts.of(key for key in keys if key)
    return with_look_alikes(arranged(texts, rows, np.ones(len(rows), dtype=bool), none, none))


def _parts(
    people: Sequence[str], folded: Sequence[str], weight: npt.NDArray[np.float64]
) -> dict[str, npt.NDArray[Any]]:
    """Parts of names, the people that each may mean, and which people are all that have it."""
    first: dict[str, None] = {}
    known: dict[str, None] = {}
    parts: list[str] = []
    owners: list[int] = []
    famous = int((weight >= _KNOWN).sum())
    for n, (person, key) in enumerate(zip(people, folded, strict=True)):
        own = key.split()
        if own and " " in person:
            first[own[0]] = None
        some = _parts_of(own)
        parts += some
        owners += len(some) * [n]
        if n < famous:
            known.update(dict.fromkeys(p for p in some if " " not in p and len(p) >= _LONG))
    values, owner = numbers(parts, len(parts)), np.array(owners, dtype=np.int32)
    order = np.argsort(values, kind="stable")
    values, owner = values[order], owner[order]
    starts = np.flatnonzero(np.diff(values, prepend=-1))
    sizes = np.diff(starts, append=len(values))
    # The people stand in the order of their weight.
    rival = weight[owner] * 2 > np.repeat(weight[owner[starts]], sizes)
    rivals = np.diff(np.append(0, np.cumsum(rival))[np.append(starts, len(values))])
    clear = rivals <= _RIVALS
    meant = Known(values[starts][clear])
    surnames = Texts.of(part for part in known if part in meant)
    return {
        "parts": meant.values,
        "part_ends": np.append(0, np.cumsum(rivals[clear])).astype(np.int32),
        "part_people": owner[rival & np.repeat(clear, sizes)],
        "part_sole": (sizes == 1)[clear],
        "first": np.sort(numbers(first, len(first))),
        "surnames": surnames.data,
        "surname_ends": surnames.ends,
    }


def _parts_of(name: Sequence[str]) -> list[str]:
    """What a person of this folded name may be called: by the surname, by the first name."""
    core = name[:-1] if len(name) > 2 and name[-1] in _NAME_SUFFIXES else name
    if len(core) < 2:
        return []
    own = [core[-1], core[0]]
    if len(core) > 2:
        own += [" ".join(core[-2:]), " ".join(core[:2])]
        if core[-2] in _PARTICLES:
            own.append("".join(core[-2:]))
    elif core[-1].startswith(("di", "de", "mc", "mac")) and len(core[-1]) > 5:
        head = _RUN_TOGETHER.match(core[-1])
        own.append(f"{head.group()} {core[-1][head.end() :]}" if head else core[-1])
    return list(dict.fromkeys(own))


class People:
    """People by their names.

    Parameters
    ----------
    arrays: what ``Credits.arrays`` gives.

    Attributes
    ----------
    names: those with most credit first. index: the folded names. surnames: those of people who are
        well known, folded.
    """

    def __init__(self, arrays: Arrays) -> None:
        self.names = Texts(arrays["names"], arrays["ends"])
        own = {n.removeprefix("index_"): a for n, a in arrays.items() if n.startswith("index_")}
        self.index = TitleIndex.of(own)
        self._arrays = arrays
        self._parts, self._first = Known(arrays["parts"]), Known(arrays["first"])

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def surnames(self) -> Sequence[str]:
        """Of people who are well known, folded."""
        return list(Texts(self._arrays["surnames"], self._arrays["surname_ends"]))

    def called(self, part: str) -> tuple[str, ...]:
        """Who is called so, best known first; nobody where it may be many."""
        at = self._parts.place(part)
        if at < 0:
            return ()
        lo, hi = self._arrays["part_ends"][at : at + 2].tolist()
        return tuple(self.names[p] for p in self._arrays["part_people"][lo:hi].tolist())

    def credit(self, part: str) -> float:
        """How much the best known of them made and played."""
        at = self._parts.place(part)
        first = self._arrays["part_ends"][at]
        return float(self._arrays["weight"][self._arrays["part_people"][first]])

    def alone(self, part: str) -> bool:
        """Whether one person only has this part in the name."""
        at = self._parts.place(part)
        return at >= 0 and bool(self._arrays["part_sole"][at])

    def known_part(self, part: str) -> bool:
        """Whether ``called`` gives somebody."""
        return part in self._parts

    def is_first_name(self, word: str) -> bool:
        """Whether a folded word begins a name."""
        return word in self._first
