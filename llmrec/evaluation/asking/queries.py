"""Queries hides the questions about the whole catalogue: counts and superlatives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llmrec.evaluation.asking.words import Wanted, countries, filled, nouns, numeral, shown
from llmrec.evaluation.asking.world import Draft, Turn, World
from llmrec.types import Item
from llmrec.wording import record_texts

__all__ = ["count", "superlative"]

_FILM_WISHES = (
    "genre", "genre", "genre", "decade", "decade", "year", "since", "until", "country", "director",
    "actor", "language", "longest", "shortest",
)  # fmt: skip
# Of each of these only one is asked for: the others say the same or nothing more.
_APART = (
    {"year", "decade", "since", "until"},
    {"longest", "shortest"},
    {"director", "actor"},
)
_OLDEST_DECADE = 1930  # "the 20s" are two
_MOST_IDS = 50
_MOST_NAMES = 10
_MOST_TIES = 3
_LEAST = 3  # items that a superlative is drawn from
_MANY = 5_000  # of more than that too many are the newest, unless they are of one person
_DRAWS = 60

_DRAWN: Mapping[str, Callable[[Item], list[Any]]] = {
    "genre": lambda i: [g for g in i.genres if g in nouns()],
    "decade": lambda i: [i.year // 10 * 10] if i.year and i.year >= _OLDEST_DECADE else [],
    "year": lambda i: [i.year] if i.year else [],
    "since": lambda i: [y for y in range(1950, 2020, 5) if i.year and y < i.year],
    "until": lambda i: [y for y in range(1940, 2010, 5) if i.year and y > i.year],
    "country": lambda i: [c for c in i.countries if c in countries()],
    "director": lambda i: list(i.directors),
    "actor": lambda i: list(i.cast),
    "language": lambda i: [s for s in i.languages if s != "None"],
    "longest": lambda i: [m for m in (80, 90, 100, 120) if i.runtime and m > i.runtime],
    "shortest": lambda i: [m for m in (100, 120, 150, 180) if i.runtime and m < i.runtime],
    "cheapest": lambda i: [float(p) for p in (5, 10, 20, 50, 100, 200) if i.price and p > i.price],
}


def count(world: World, turn: Turn) -> Draft | None:
    """How many items meet something."""
    if not turn.answerable:
        return (_odd if turn.dice.random() < 0.4 else _none)(world, turn, "count", {}, "")
    wanted = _wanted(world, turn, turn.dice.choice((1, 2, 2)), turn.dice.choice(world.items))
    cluster = f"count:{wanted.key}"
    if not wanted.key or world.part_of(cluster) != turn.part:
        return None
    found = world.meeting(wanted)
    if len(found) < 2 or any(wanted.on_the_edge(i) for i in found):
        return None
    draft, slots = _asked_for(world, turn, "count", wanted, {})
    n = str(len(found))
    names = "; ".join(i.title_in(turn.language) for i in found[:_MOST_NAMES])
    return world.answered(
        draft, turn, "count", {**slots, "n": n}, bare=(n,), cluster=cluster,
        values=(numeral(len(found), turn.language),), items=tuple(i.id for i in found[:_MOST_IDS]),
        context={"count": n, "titles": names}, topic=wanted.key,
    )  # fmt: skip


def superlative(world: World, turn: Turn) -> Draft | None:
    """Which item is the longest, oldest, cheapest of those that meet something."""
    ways = [w for w in world.ways if (f"sup.{w}", turn.language) in turn.words]
    known = [w for w in ways if world.coverage[w.split(".")[0]] > 0.5]
    if not turn.answerable:
        return _no_superlative(world, turn, ways, known)
    if not known:
        return None
    way = turn.dice.choice(known)
    field, direction = way.split(".")
    wanted = _wanted(world, turn, turn.dice.choice((0, 1, 1, 2)), world.item(turn))
    if field == "year" and len(world.items) > _MANY and not (wanted.actor or wanted.director):
        return None
    found = [i for i in world.meeting(wanted) if getattr(i, field) is not None]
    if len(found) < _LEAST or any(wanted.on_the_edge(i) for i in found):
        return None
    best = (max if direction == "max" else min)(getattr(i, field) for i in found)
    winners = [i for i in found if getattr(i, field) == best]
    parts = {world.part_of(world.cluster[i.id]) for i in winners}
    if len(winners) > _MOST_TIES or parts != {turn.part} or (field == "year" and wanted.year):
        return None
    draft, slots = _asked_for(world, turn, "superlative", wanted, _adjective(turn, way))
    has = shown(winners[0], field, turn.language)
    assert has is not None
    titles = tuple(i.title_in(turn.language) for i in winners)
    return world.answered(
        draft, turn, "superlative", {**slots, "t": titles[0], "v": has[0]}, bare=titles,
        field=field, values=(tuple(n for i in winners for n in i.all_titles),),
        items=tuple(i.id for i in winners), cluster=world.cluster[winners[0].id],
        context=record_texts(winners[0], turn.language), topic=wanted.key,
    )  # fmt: skip


def _no_superlative(world: World, turn: Turn, ways: list[str], known: list[str]) -> Draft | None:
    lacking = [w for w in ways if not world.coverage[w.split(".")[0]]]
    if not lacking or (known and turn.dice.random() < 0.5):
        if not known:
            return None
        way = turn.dice.choice(known)
        extra = _adjective(turn, way)
        return _none(world, turn, "superlative", extra, way.split(".")[0])
    way = turn.dice.choice(lacking)
    wanted = _wanted(world, turn, 1, world.item(turn))
    cluster = f"superlative:{way};{wanted.key}"
    if world.part_of(cluster) != turn.part:
        return None
    draft, _ = _asked_for(world, turn, "superlative", wanted, _adjective(turn, way))
    return world.refused(
        draft, turn, "no such fact", sentence="no such column", cluster=cluster,
        field=way.split(".")[0], topic=wanted.key,
    )  # fmt: skip


def _adjective(turn: Turn, way: str) -> dict[str, str]:
    return {"adj": turn.words.text(f"sup.{way}", turn.language, turn.dice)}


def _wanted(world: World, turn: Turn, kinds: int, *items: Item) -> Wanted:
    """Something to be met, drawn from what the items have."""
    wishes = ("cheapest",) if world.product else _FILM_WISHES
    values: dict[str, Any] = {}
    for name in turn.dice.sample(wishes, min(kinds, len(wishes))):
        drawn = _DRAWN[name](turn.dice.choice(items))
        if name == "actor":  # "with" a director may mean either side of the camera
            drawn = [person for person in drawn if person not in world.directors]
        taken = any(name in apart and apart & set(values) for apart in _APART)
        if drawn and not taken:
            values[name] = turn.dice.choice(drawn)
    return Wanted(**values)


def _asked_for(
    world: World, turn: Turn, kind: str, wanted: Wanted, extra: Mapping[str, str]
) -> tuple[Draft, dict[str, str]]:
    """The words of a question, and what fills those of its answer."""
    found = turn.words.pick([kind], turn.language, turn.dice)
    assert found is not None, f"there are wordings of {kind}"
    noun = world.noun(turn.language, wanted.genre)
    slots = {**noun.slots, "the": noun.the_many(turn.language), **extra}

    def modifiers(number: str) -> str:
        agreeing = {**noun.slots, "os": noun.gender + number}
        if "mods" in extra:
            return filled(extra["mods"], agreeing)
        return wanted.modifiers(turn.language, turn.words, turn.dice, agreeing)

    if "adj" in slots:
        slots["adj"] = filled(slots["adj"], noun.slots)
    mods = modifiers("s" if "{nouns}" in found[1] else "")
    draft = Draft(kind, filled(found[1], {**slots, "mods": mods}), found[0], source="query")
    return draft, {**slots, "mods": modifiers("s")}


def _odd(world: World, turn: Turn, kind: str, extra: Mapping[str, str], field: str) -> Draft | None:
    """Asks for a thing that no item of the catalogue tells of itself."""
    name = "mods.odd.product" if world.product else "mods.odd"
    mods = turn.words.pick([name], turn.language, turn.dice)
    drawn = Wanted() if world.product else _wanted(world, turn, 3, world.item(turn))
    wanted = Wanted(genre=drawn.genre)
    cluster = f"{kind}:{mods and mods[0]};{wanted.key}"
    if mods is None or world.part_of(cluster) != turn.part:
        return None
    draft, _ = _asked_for(world, turn, kind, wanted, {**extra, "mods": mods[1]})
    return world.refused(
        draft, turn, "no such fact", sentence="no such column", cluster=cluster, field=field,
        topic=f"{mods[0]};{wanted.key}",
    )  # fmt: skip


def _none(
    world: World, turn: Turn, kind: str, extra: Mapping[str, str], field: str
) -> Draft | None:
    """Asks for what nothing meets: things that two items have, and none has both."""
    for _ in range(_DRAWS):
        two = turn.dice.choice(world.items), turn.dice.choice(world.items)
        wanted = _wanted(world, turn, 2, *two)
        cluster = f"{kind}:{wanted.key}"
        if not wanted.key or world.part_of(cluster) != turn.part:
            continue
        if not world.meeting(wanted):
            break
    else:
        return None
    draft, _ = _asked_for(world, turn, kind, wanted, extra)
    return world.refused(
        draft, turn, "nothing meets it", cluster=cluster, field=field, topic=wanted.key,
        values=(numeral(0, turn.language),) if kind == "count" else (), context={"count": "0"},
    )  # fmt: skip
