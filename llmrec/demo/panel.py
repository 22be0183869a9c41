"""Panel hides how Preferences become simple controls that anyone can edit, and come back."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from llmrec.demo.texts import say
from llmrec.types import Preferences
from llmrec.wishes import Things, Wish, things_of
from llmrec.wording import display_name

if TYPE_CHECKING:
    from llmrec.catalog import Catalog
    from llmrec.recommender import Recommender

__all__ = ["CONTROLS", "Choices", "Control", "PanelError", "choices_of", "read", "shown"]

Value = Sequence[str] | float | str | None
YEARS = (1870, 2100)
MINUTES = (1, 900)
SUGGESTED = 200


@dataclass(frozen=True)
class Control:
    """One control of the panel.

    Attributes
    ----------
    name: also the key of its label, but for "seen", whose label is "seen_films".
    kind: "choice" (of a list), "person", "film" (names that are looked up), "number" (a whole
        one), "amount" or "text".
    fields: those of Preferences that it shows together; what is new goes to the first.
    rare: shown only where it holds something.
    """

    name: str
    kind: str
    fields: tuple[str, ...]
    vocabulary: str = ""
    rare: bool = False

    def label(self, language: str, things: Things = "films") -> str:
        """What stands above it."""
        return say(language, "seen_films" if self.name == "seen" else self.name, things)


CONTROLS = (
    Control("genres", "choice", ("genres", "genres_any"), "genre"),
    Control("genres_out", "choice", ("genres_out",), "genre"),
    Control("keywords", "choice", ("keywords",), "keyword"),
    Control("keywords_out", "choice", ("keywords_out",), "keyword", rare=True),
    Control("people", "person", ("people", "directors", "people_any")),
    Control("people_out", "person", ("people_out",), rare=True),
    Control("year_min", "number", ("year_min",)),
    Control("year_max", "number", ("year_max",)),
    Control("runtime_min", "number", ("runtime_min",)),
    Control("runtime_max", "number", ("runtime_max",)),
    Control("price_min", "amount", ("price_min",)),
    Control("price_max", "amount", ("price_max",)),
    Control("countries", "choice", ("countries",), "country"),
    Control("countries_out", "choice", ("countries_out",), "country", rare=True),
    Control("languages", "choice", ("languages",), "language", rare=True),
    Control("languages_out", "choice", ("languages_out",), "language", rare=True),
    Control("similar_to", "film", ("similar_to",)),
    Control("likes", "film", ("likes",), rare=True),
    Control("dislikes", "film", ("dislikes",), rare=True),
    Control("seen", "film", ("seen",), rare=True),
    Control("text", "text", ("text",), rare=True),
)


class PanelError(Exception):
    """A value that cannot be used: the key of the text that says so, and what fills it."""

    def __init__(self, key: str, **values: str) -> None:
        super().__init__(key)
        self.key = key
        self.values = values

    def sentence(self, language: str, things: Things = "films") -> str:
        """What is wrong, what is allowed and what to do, in one sentence."""
        return say(language, self.key, things, **self.values)


class Choices:
    """What the controls offer, taken from the catalogue once."""

    def __init__(self, catalog: Catalog) -> None:
        counts: dict[str, Counter[str]] = {
            k: Counter() for k in ("genre", "keyword", "country", "language")
        }
        people: Counter[str] = Counter()
        for item in catalog:
            counts["genre"].update(item.genres)
            counts["keyword"].update(item.keywords)
            counts["country"].update(item.countries)
            counts["language"].update(item.languages)
            for person in item.people:
                people[person] += 1
            if len(people) > 500_000:  # bounded memory for catalogues of millions
                people = Counter(dict(people.most_common(50_000)))
        self._lists = {kind: [v for v, _ in c.most_common(1000)] for kind, c in counts.items()}
        self._people = sorted(p for p, _ in people.most_common(SUGGESTED))
        best = catalog.popularity.argsort(kind="stable")[::-1][:SUGGESTED]
        self.popular = catalog.items_at(best)
        self._made: dict[tuple[str, str], dict[str, str]] = {}
        self._get = catalog.get
        self._known: Callable[[object], bool] = catalog.__contains__
        self._lacking = {name for name, share in catalog.known.items() if not share}
        self.things: Things = things_of(catalog.known)

    def offered(self, control: Control) -> bool:
        """Whether a control is shown while it is empty: prices only where there are some."""
        if control.kind == "amount":
            return "price" not in self._lacking
        if self.things == "films":
            return not control.rare
        facts = {Wish(f, ()).attribute for f in control.fields}
        return not control.rare and not facts <= self._lacking

    def of(self, control: Control, values: Sequence[str], language: str) -> list[tuple[str, str]]:
        """What a control offers: (name in ``language``, value); ``values`` are always among it."""
        always = self._always(control, language)
        more = [v for v in values if v not in always]
        if control.kind == "choice":
            named = always | {v: display_name(control.vocabulary, v, language) for v in more}
            pairs = [(name, value) for value, name in named.items()]
            return sorted(pairs, key=lambda pair: pair[0].casefold()) if more else pairs
        if control.kind == "person":
            first = dict.fromkeys(more)
            return [(p, p) for p in (*first, *always)]
        items = {v: self._get(v).label_in(language) for v in more if self._known(v)}
        return [(name, value) for value, name in (items | always).items()]

    def holds(self, control: Control, values: Sequence[str]) -> bool:
        """Whether a control offers these always, so that its choices need not be sent again."""
        return {*values} <= self._always(control, "en").keys()

    def _always(self, control: Control, language: str) -> dict[str, str]:
        """The name of each value that a control offers to everybody, made once."""
        key = (control.vocabulary or control.kind, language)
        if key not in self._made:
            if control.kind == "choice":
                values = self._lists[control.vocabulary]
                named = ((v, display_name(control.vocabulary, v, language)) for v in values)
                made = dict(sorted(named, key=lambda pair: pair[1].casefold()))
            elif control.kind == "person":
                made = {p: p for p in self._people}
            else:
                made = {i.id: i.label_in(language) for i in self.popular}
            self._made[key] = made
        return self._made[key]


def shown(preferences: Preferences | None) -> dict[str, Value]:
    """The value of each control for some preferences; None: nothing is known yet."""
    p = preferences or Preferences()
    out: dict[str, Value] = {}
    for control in CONTROLS:
        if control.kind in ("number", "amount", "text"):
            out[control.name] = getattr(p, control.fields[0])
        else:
            out[control.name] = list(
                dict.fromkeys(v for f in control.fields for v in getattr(p, f))
            )
    return out


def read(
    values: Mapping[str, Any], base: Preferences, recommender: Recommender, language: str
) -> Preferences:
    """The preferences that the controls now show.

    Parameters
    ----------
    values: of each control, by name; a name that is missing changes nothing.
    base: what was shown before: whatever has no control, and whether one or all of several genres
        or people are meant, stays as it was there.
    language: to name what is wrong in.

    Raises
    ------
    PanelError: a number that is none or out of range, a first year after the last, a name that the
        catalogue does not have, a value both wanted and unwanted.
    """
    changes: dict[str, Any] = {}
    for control in CONTROLS:
        if control.name not in values:
            continue
        value = values[control.name]
        if control.kind == "number":
            low, high = YEARS if control.name.startswith("year") else MINUTES
            changes[control.name] = _whole(value, control.label(language), low, high)
        elif control.kind == "amount":
            changes[control.name] = _amount(value, control.label(language))
        elif control.kind == "text":
            changes[control.name] = " ".join(str(value or "").split())[:500]
        else:
            changes |= _read_names(value, control, base, recommender, language)
    made = dataclasses.replace(base, **changes)
    _check(made, language)
    return made


def _read_names(
    value: Any, control: Control, base: Preferences, recommender: Recommender, language: str
) -> dict[str, tuple[str, ...]]:
    """The fields of a control that holds names: what was there stays where it was."""
    known = set(shown(base)[control.name])  # type: ignore[arg-type]
    find = functools.partial(_FIND[control.kind], recommender, control, language)
    given = (v for v in map(str, value or ()) if v.strip())
    wanted = list(dict.fromkeys(v if v in known else find(v) for v in given))
    fields = {f: tuple(v for v in getattr(base, f) if v in wanted) for f in control.fields}
    kept = {v for values in fields.values() for v in values}
    # Where one of several was enough, a further one is one more of those.
    first, joins = control.fields[0], f"{control.name}_any"
    target = joins if fields.get(joins) and not fields[first] else first
    fields[target] += tuple(v for v in wanted if v not in kept)
    return fields


def _whole(value: Any, field: str, low: int, high: int) -> int | None:
    if value is None or value == "":
        return None
    try:
        number = float(value)
        whole = int(number)
    except (TypeError, ValueError, OverflowError):
        number, whole = 0.0, -1
    if whole != number or not low <= whole <= high:
        said = f"{value:g}" if isinstance(value, (int, float)) else str(value)[:40]
        raise PanelError("error_number", value=said, field=field, low=str(low), high=str(high))
    return whole


def _amount(value: Any, field: str) -> float | None:
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = -1.0
    if not 0 <= number < math.inf:
        raise PanelError("error_amount", value=str(value)[:40], field=field)
    return number


def _choice(recommender: Recommender, control: Control, language: str, value: str) -> str:
    offered = choices_of(recommender).of(control, (), language)
    if value not in {v for _, v in offered}:
        raise PanelError("error_choice", value=value[:60], field=control.label(language))
    return value


def _person(recommender: Recommender, control: Control, language: str, value: str) -> str:
    marked = recommender.understander.lexicon.mark(value[:100])
    found = [s.values for s in marked.spans if s.kind == "person"]
    if len(found) != 1:
        raise PanelError("error_person", value=value[:60])
    if len(found[0]) > 1:
        raise PanelError("error_people", value=value[:60], options=", ".join(found[0][:4]))
    return found[0][0]


def _film(recommender: Recommender, control: Control, language: str, value: str) -> str:
    if value in recommender.catalog:
        return value
    item = recommender.catalog.match_title(value[:200]).item
    if item is None:
        raise PanelError("error_film", value=value[:60])
    return item.id


_FIND = {"choice": _choice, "person": _person, "film": _film}


_choices: WeakKeyDictionary[Catalog, Choices] = WeakKeyDictionary()


def choices_of(recommender: Recommender) -> Choices:
    """What the controls offer with a recommender's catalogue, looked up once."""
    catalog = recommender.catalog
    if (found := _choices.get(catalog)) is None:
        found = _choices[catalog] = Choices(catalog)
    return found


def _check(p: Preferences, language: str) -> None:
    for name in ("year", "runtime", "price"):
        low, high = getattr(p, f"{name}_min"), getattr(p, f"{name}_max")
        if low is not None and high is not None and low > high:
            raise PanelError(
                "error_order",
                low_field=say(language, f"{name}_min"),
                low=str(low),
                high_field=say(language, f"{name}_max"),
                high=str(high),
            )
    kinds = {
        "genres": "genre",
        "keywords": "keyword",
        "countries": "country",
        "languages": "language",
        "people": "",
    }
    for name, kind in kinds.items():
        wanted = {*getattr(p, name), *getattr(p, f"{name}_any", ())}
        if name == "people":
            wanted |= {*p.directors}
        if both := sorted(wanted & {*getattr(p, f"{name}_out")}):
            named = display_name(kind, both[0], language) if kind else both[0]
            raise PanelError("error_both", value=named)
