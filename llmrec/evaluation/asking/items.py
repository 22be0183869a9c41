"""Items hides the questions about one item or two: facts, checks, texts and comparisons."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from llmrec.evaluation.asking.texts import directors_in, sentences, silent, subjects, talks_of
from llmrec.evaluation.asking.words import (
    SAME,
    countries,
    filled,
    minutes,
    nouns,
    shown,
    speaks_of,
    things,
)
from llmrec.evaluation.asking.words import answer_wordings as said
from llmrec.evaluation.asking.world import Draft, Turn, World
from llmrec.titles import fold
from llmrec.types import Item
from llmrec.wording import display_name, record_texts

__all__ = ["check", "comparison", "fact", "text"]

_CHECKED = ("directors", "cast", "genres", "countries", "languages", "year", "runtime")
_ALIKE = ("directors", "year", "cast", "genres", "countries")
_PRICES = (5, 10, 15, 20, 30, 50, 100, 200, 500)
_MINUTES = (60, 80, 90, 100, 110, 120, 150, 180)
_YEARS_OFF = (-11, -6, -3, 2, 4, 9)
_LONG = 700  # characters of a description that an answer quotes


def fact(world: World, turn: Turn) -> Draft | None:
    """A field of an item, or what the catalogue does not say of it."""
    if not turn.answerable:
        return _no_fact(world, turn)
    asked = [f for f in world.facts if world.coverage[f] > 0]
    told = not world.product and world.coverage["directors"] == 0 and turn.dice.random() < 0.3
    if told:
        return _told_director(world, turn)
    if not asked:
        return None
    field, item = turn.dice.choice(asked), world.item(turn)
    if field == "original_title":
        item = next((i for i in world.some(turn) if _renamed(i, turn.language)), item)
        if not _renamed(item, turn.language):
            return None
    has = shown(item, field, turn.language)
    draft = world.ask(turn, "fact", [f"fact.{field}"], item, dated=field != "year")
    if has is None or draft is None:
        return None
    if field == "original_title" and fold(has[0]) in fold(draft.question):
        return None
    slots = {"t": item.title_in(turn.language), "v": has[0]}
    return world.answered(
        draft, turn, f"fact.{field}", slots, bare=(has[0],), field=field, values=has[1]
    )


def _told_director(world: World, turn: Turn) -> Draft | None:
    """A director that no field holds, and that the description tells."""
    item = world.item(turn)
    if not (names := directors_in(item)):
        return None
    draft = world.ask(turn, "fact", ["fact.directors"], item)
    slots = {"t": item.title_in(turn.language), "v": ", ".join(names)}
    quoted = [s for s in sentences(item.description) if "directed" in s]
    return world.answered(
        draft, turn, "fact.directors", slots, bare=(slots["v"], *quoted), field="directors",
        source="description", values=tuple((n,) for n in names),
    )  # fmt: skip


def _no_fact(world: World, turn: Turn) -> Draft | None:
    chance = turn.dice.random()
    if chance < 0.35 and not turn.follow:
        field = turn.dice.choice([f for f in world.facts if f != "original_title"])
        draft = world.ask(turn, "fact", [f"fact.{field}"], None)
        return draft and dataclasses.replace(draft, field=field)
    item = world.item(turn)
    title = item.title_in(turn.language)
    if chance < 0.65 and (fields := world.lacking(item)):
        field = turn.dice.choice(fields)
        draft = world.ask(turn, "fact", [f"fact.{field}"], item, dated=field != "year")
        return world.refused(draft, turn, "no such fact", title, field=field)
    topic = world.topic(turn)
    if speaks_of(_told(item), topic.stems):
        return None
    name, the = topic.names[turn.language]
    own = f"topic.{topic.key}"
    keys = ["topic"] if turn.follow else ["topic", own, own]
    draft = world.ask(turn, "fact", keys, item, topic=name, the=the)
    return world.refused(draft, turn, "no such fact", title, topic=topic.key)


def check(world: World, turn: Turn) -> Draft | None:
    """Whether something is so; half of the time it is."""
    asked = ("price",) if world.product else _CHECKED
    item, other = world.item(turn), turn.dice.choice(world.items)
    if not turn.answerable:
        return _no_check(world, turn, asked, item, other)
    known = [f for f in asked if world.coverage[f]]
    if not known:
        return None
    field, right = turn.dice.choice(known), turn.dice.random() < 0.5
    claim = _claim(turn, field, item, other, right)
    has = shown(item, field, turn.language)
    if claim is None or has is None:
        return None
    draft = world.ask(turn, "check", [claim[0]], item, dated=field != "year", v=claim[1])
    told = turn.dice.choice(said()[f"fact.{field}", turn.language])
    sentence = filled(told, {"t": item.title_in(turn.language), "v": has[0]})
    return world.yes_or_no(draft, turn, right, {"fact": sentence}, field)


def _no_check(
    world: World, turn: Turn, asked: Sequence[str], item: Item, other: Item
) -> Draft | None:
    field, title = turn.dice.choice(asked), item.title_in(turn.language)
    if turn.dice.random() < 0.4 and not turn.follow:
        claim = _claim(turn, field, other, other, True)
        draft = world.ask(turn, "check", [claim[0]], None, v=claim[1]) if claim else None
        return draft and dataclasses.replace(draft, field=field)
    if silent(item, field) and turn.dice.random() < 0.6:
        claim = _claim(turn, field, other if getattr(other, field) else item, item, True)
        if claim is None:
            return None
        draft = world.ask(turn, "check", [claim[0]], item, dated=field != "year", v=claim[1])
        return world.refused(draft, turn, "no such fact", title, field=field)
    topic = world.topic(turn)
    if turn.follow or speaks_of(_told(item), topic.stems):
        return None
    draft = world.ask(turn, "check", [f"check.topic.{topic.key}"], item)
    return world.refused(draft, turn, "no such fact", title, topic=topic.key)


def _claim(turn: Turn, field: str, item: Item, other: Item, right: bool) -> tuple[str, str] | None:
    """Something said of an item, true or not: the key of its wording, and the value in it.

    What is not true is true of the other item.
    """
    dice = turn.dice
    if field == "price":
        price = 20.0 if item.price is None else item.price
        bounds = [b for b in _PRICES if b != price and (price < b) == right]
        return ("check.price.min", str(dice.choice(bounds))) if bounds else None
    if field == "runtime":
        length, longer = item.runtime or 100, dice.random() < 0.5
        bounds = [b for b in _MINUTES if b != length and ((length > b) == longer) == right]
        if not bounds:
            return None
        near = min(bounds, key=lambda b: (abs(b - length), b))
        bound = near if dice.random() < 0.5 else dice.choice(bounds)
        return f"check.runtime.{'max' if longer else 'min'}", minutes(bound, turn.language)
    if field == "year":
        year = (item.year or 1990) + (0 if right else dice.choice(_YEARS_OFF))
        return "check.year", str(year)
    own = getattr(item, field)
    pool = own if right else [v for v in getattr(other, field) if v not in own]
    words = [w for v in pool if (w := _as_claim(field, v, turn.language))]
    return (f"check.{field}", dice.choice(words)) if words else None


def _as_claim(field: str, value: str, language: str) -> str:
    """A value as it is said in a claim: "a comedy", "from France"; empty where it is not asked."""
    if field == "genres":
        noun = nouns().get(value)
        return noun[language].with_article(language) if noun else ""
    if field == "countries":
        return countries().get(value, {}).get(language, "")
    if field == "languages":
        name = display_name("language", value, language)
        return "" if value == "None" else name if language == "en" else name.lower()
    return value


def text(world: World, turn: Turn) -> Draft | None:
    """What a description says: all of it, or of something that one sentence of it names."""
    item = world.item(turn)
    if not turn.answerable:
        return _no_text(world, turn, item)
    description = item.description_in(turn.language)
    if not description:
        return None
    if turn.follow or turn.dice.random() < 0.5:
        draft = world.ask(turn, "text", _about(world, turn), item)
        return draft and _quoted(draft, sentences(description))
    if not (found := subjects(item, turn.language)):
        return None
    entity, sentence = turn.dice.choice(found)
    draft = world.ask(turn, "text", ["text.subject"], item, e=entity)
    return draft and dataclasses.replace(_quoted(draft, [sentence]), topic=entity)


def _about(world: World, turn: Turn) -> list[str]:
    kind = "product" if world.product else "text" if turn.follow else "about"
    return [kind if turn.follow else f"text.{kind}"]


def _quoted(draft: Draft, parts: Sequence[str]) -> Draft:
    """The gold is what the description says: as much of it as an answer holds, or its beginning."""
    kept = [parts[0]]
    for sentence in parts[1:]:
        if len(" ".join(kept)) + len(sentence) < _LONG:
            kept.append(sentence)
    answers = (" ".join(kept), " ".join(kept[:2]), kept[0])
    return dataclasses.replace(
        draft, answers=tuple(dict.fromkeys(answers)), answer=answers[1], field="description",
        judged="text", source="description",
    )  # fmt: skip


def _no_text(world: World, turn: Turn, item: Item) -> Draft | None:
    title = item.title_in(turn.language)
    if turn.dice.random() < 0.35 and not turn.follow:
        draft = world.ask(turn, "text", _about(world, turn), None)
        return draft and dataclasses.replace(draft, field="description")
    why = "not in the text"
    if not item.description_in(turn.language):
        draft = world.ask(turn, "text", _about(world, turn), item)
        return world.refused(draft, turn, why, title, field="description")
    found = subjects(world.item(turn), turn.language)
    absent = [e for e, _ in found if not talks_of(item, e)]
    if turn.follow or not absent:
        return None
    entity = turn.dice.choice(absent)
    draft = world.ask(turn, "text", ["text.subject"], item, e=entity)
    return world.refused(draft, turn, why, title, field="description", topic=entity)


def comparison(world: World, turn: Turn) -> Draft | None:
    """Which of two items is the longer, newer, cheaper; or whether they share something."""
    a, b = world.item(turn), world.item(turn)
    if a.id == b.id:
        return None
    if not turn.answerable:
        return _no_comparison(world, turn, a, b)
    ways = [w for w in world.ways if world.coverage[w.split(".")[0]]]
    fields = [f for f in _ALIKE if world.coverage[f]]
    if ways and (world.product or not fields or turn.dice.random() < 0.6):
        return _which(world, turn, turn.dice.choice(ways), a, b)
    return _alike(world, turn, turn.dice.choice(fields), a) if fields else None


def _pair(
    world: World, turn: Turn, key: str, a: Item, b: Item | None, slots: Mapping[str, str]
) -> tuple[Draft, str] | None:
    """The words of a question about two items (the second may not exist); the second's name."""
    dated = slots.get("field") != "year"
    found = turn.words.pick([key], turn.language, turn.dice)
    first, second = world.name(turn, a, dated=dated), world.name(turn, b, dated=dated)
    if not found or not first or not second:
        return None
    names = (second, first) if b is None and turn.dice.random() < 0.5 else (first, second)
    question = filled(found[1], {**slots, "a": names[0].text, "b": names[1].text})
    noise = first.noise or second.noise
    if "lower" in (first.noise, second.noise):
        question, noise = question.lower(), "lower"
    context = record_texts(a, turn.language)
    if b is not None:
        context |= {f"{k} 2": v for k, v in record_texts(b, turn.language).items()}
    ids = tuple(i.id for i in (a, b) if i is not None)
    draft = Draft(
        "comparison", question, found[0], items=ids, context=context, noise=noise,
        cluster=world.cluster[a.id],
    )  # fmt: skip
    return draft, second.text


def _adjective(world: World, turn: Turn, way: str) -> dict[str, str]:
    slots = world.noun(turn.language).slots
    word = turn.words.text(f"adj.{way}", turn.language, turn.dice)
    return {**slots, "adj": filled(word, slots), "field": way.split(".")[0]}


def _which(world: World, turn: Turn, way: str, a: Item, b: Item) -> Draft | None:
    field, direction = way.split(".")
    has_a, has_b = shown(a, field, turn.language), shown(b, field, turn.language)
    if has_a is None or has_b is None or (f"adj.{way}", turn.language) not in turn.words:
        return None
    slots = _adjective(world, turn, way)
    made = _pair(world, turn, "comparison.which", a, b, slots)
    if made is None:
        return None
    value_a, value_b = getattr(a, field), getattr(b, field)
    wins = (value_a > value_b) == (direction == "max")
    best, rest, of_best, of_rest = (a, b, has_a, has_b) if wins else (b, a, has_b, has_a)
    name = best.title_in(turn.language)
    told = {
        **slots, "a": name, "b": rest.title_in(turn.language), "va": of_best[0], "vb": of_rest[0],
    }  # fmt: skip
    if value_a == value_b:
        same = (SAME[turn.language],)
        return world.answered(made[0], turn, "comparison.tie", told, field=field, values=same)
    return world.answered(
        made[0], turn, "comparison.which", told, bare=(name,), field=field,
        values=(best.all_titles,), rivals=rest.all_titles,
    )  # fmt: skip


def _alike(world: World, turn: Turn, field: str, a: Item) -> Draft | None:
    """Whether two items are the same in a field; half of the time they are."""
    wanted = turn.dice.random() < 0.5
    fits = [i for i in world.of_part[turn.part] if i.id != a.id and _shared(a, i, field) is wanted]
    has_a = shown(a, field, turn.language)
    if not fits or has_a is None:
        return None
    b = turn.dice.choice(fits)
    has_b = shown(b, field, turn.language)
    gender, thing = things(field, turn.language)
    the = "el" if (turn.language, gender) == ("es", "o") else gender
    slots = {"o": gender, "the": the, "thing": thing, "athing": thing, "field": field}
    key = "comparison.same" if field in ("directors", "year") else "comparison.shared"
    made = _pair(world, turn, key, a, b, slots)
    if made is None or has_b is None:
        return None
    common = [v for v in has_a[0].split(", ") if v in has_b[0].split(", ")]
    told = {
        "a": a.title_in(turn.language), "b": b.title_in(turn.language), "va": has_a[0],
        "vb": has_b[0], "v": ", ".join(common),
    }  # fmt: skip
    return world.yes_or_no(made[0], turn, wanted, told, field)


def _no_comparison(world: World, turn: Turn, a: Item, b: Item) -> Draft | None:
    way = turn.dice.choice([w for w in world.ways if (f"adj.{w}", turn.language) in turn.words])
    field, slots = way.split(".")[0], _adjective(world, turn, way)
    if turn.dice.random() < 0.5 and world.coverage[field]:
        made = _pair(world, turn, "comparison.which", a, None, slots)
        return made and world.refused(made[0], turn, "no such title", made[1], field=field)
    if not silent(b, field):
        return None
    made = _pair(world, turn, "comparison.which", a, b, slots)
    title = b.title_in(turn.language)
    return made and world.refused(made[0], turn, "no such fact", title, field=field)


def _told(item: Item) -> str:
    return " ".join([item.description, *item.descriptions.values(), *item.keywords])


def _renamed(item: Item, language: str) -> bool:
    """Whether the original title is another than that of the language."""
    return bool(item.original_title) and fold(item.original_title) != fold(item.title_in(language))


def _shared(a: Item, b: Item, field: str) -> bool | None:
    """Whether two items have something of a field in common; None if that cannot be told.

    Of directors, all or none: two films by pairs that overlap are neither the same nor not. Of a
    cast only the leading names are known: that two share none is what the catalogue says.
    """
    of_a, of_b = getattr(a, field), getattr(b, field)
    if not of_a or not of_b:
        return None
    if field == "year":
        return bool(of_a == of_b)
    both = set(of_a) & set(of_b)
    if field == "directors" and both and set(of_a) != set(of_b):
        return None
    return bool(both)
