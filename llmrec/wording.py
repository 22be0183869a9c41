"""Wording hides how wishes, reasons and replies are said in English, Portuguese and Spanish.

Every sentence is filled from catalogue fields and executed wishes, so each can be checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources

from llmrec.types import Item, Preferences, Recommendation
from llmrec.wishes import Wish

__all__ = [
    "chip_texts",
    "display_name",
    "duration",
    "on_one_line",
    "reason",
    "record_texts",
    "reply_text",
    "wish_label",
    "wish_labels",
]

_T = {
    "en": {
        "with": "with {}", "without": "no {}", "avoid": "avoiding: {}", "without_person": "without {}", "directed": "directed by {}",
        "year": "from {}", "years": "from {} to {}", "year_min": "from {} on", "year_max": "until {}",
        "runtime_min": "at least {}", "runtime_max": "at most {}", "from_country": "from {}",
        "not_from": "not from {}", "in": "in {}", "not_in": "not in {}", "or": " or ", "and": " and ",
        "like": "close to {}", "known": "widely known", "shares": "shares {} with {}",
        "nothing": "I found no film in the catalogue that goes with that. Take back a wish, and I will look again.",
        "found_one": "This one fits best: {}.", "found": "These fit best: {}.",
        "wishes": "You asked for: {}.", "open": "Tell me a genre, a person or a film you love, and I will narrow it down.",
        "relaxed": "No film meets all of it, so I gave up: {}.",
        "few": "Only {} in the catalogue meet everything.",
        "few_one": "Only one film in the catalogue meets everything.",
        "unknown": "I do not know {} from this catalogue.",
        "excluded": "I left out what you have seen or did not like.",
    },
    "pt": {
        "with": "com {}", "without": "sem {}", "avoid": "evitando: {}", "without_person": "sem {}", "directed": "com direção de {}",
        "year": "de {}", "years": "de {} a {}", "year_min": "de {} em diante", "year_max": "até {}",
        "runtime_min": "no mínimo {}", "runtime_max": "no máximo {}", "from_country": "origem: {}",
        "not_from": "fora: {}", "in": "em {}", "not_in": "não em {}", "or": " ou ", "and": " e ",
        "like": "próximo de {}", "known": "muito conhecido", "shares": "tem {} em comum com {}",
        "nothing": "Não achei no catálogo nenhum filme que combine com isso. Retire um dos pedidos e eu procuro de novo.",
        "found_one": "Este é o que mais combina: {}.", "found": "Estes são os que mais combinam: {}.",
        "wishes": "Você pediu: {}.", "open": "Diga um gênero, uma pessoa ou um filme de que gosta e eu afino a lista.",
        "relaxed": "Nenhum filme atende a tudo, então abri mão de: {}.",
        "few": "Só {} do catálogo atendem a tudo.",
        "few_one": "Só um filme do catálogo atende a tudo.",
        "unknown": "Não conheço {} neste catálogo.",
        "excluded": "Deixei de fora o que você já viu ou não gostou.",
    },
    "es": {
        "with": "con {}", "without": "sin {}", "avoid": "evitando: {}", "without_person": "sin {}", "directed": "con dirección de {}",
        "year": "de {}", "years": "de {} a {}", "year_min": "de {} en adelante", "year_max": "hasta {}",
        "runtime_min": "como mínimo {}", "runtime_max": "como máximo {}", "from_country": "origen: {}",
        "not_from": "fuera: {}", "in": "en {}", "not_in": "no en {}", "or": " o ", "and": " y ",
        "like": "cercana a {}", "known": "muy conocida", "shares": "tiene {} en común con {}",
        "nothing": "No encontré en el catálogo ninguna película que encaje con eso. Quita uno de los deseos y busco de nuevo.",
        "found_one": "Esta es la que mejor encaja: {}.", "found": "Estas son las que mejor encajan: {}.",
        "wishes": "Pediste: {}.", "open": "Dime un género, una persona o una película que te guste y afino la lista.",
        "relaxed": "Ninguna película lo cumple todo, así que renuncié a: {}.",
        "few": "Solo {} del catálogo lo cumplen todo.",
        "few_one": "Solo una película del catálogo lo cumple todo.",
        "unknown": "No conozco {} en este catálogo.",
        "excluded": "Dejé fuera lo que ya viste o no te gustó.",
    },
}  # fmt: skip


MAX_DESCRIPTION = 2_000  # characters that a record holds of it
MAX_CAST = 8
_MINUTES = {"en": "minutes", "pt": "minutos", "es": "minutos"}


@cache
def _names() -> dict[tuple[str, str], dict[str, str]]:
    text = resources.files("llmrec").joinpath("data/names.tsv").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines() if line and not line.startswith("#"))
    return {(kind, name): {"pt": pt, "es": es} for kind, name, pt, es in rows}


def display_name(kind: str, name: str, language: str) -> str:
    """A genre, theme ("keyword"), country or spoken language, as a reader of ``language`` calls it."""
    return _names().get((kind, name), {}).get(language, name)


def duration(minutes: int) -> str:
    """``107`` as ``1 h 47``."""
    hours, rest = divmod(minutes, 60)
    if not hours:
        return f"{rest} min"
    return f"{hours} h {rest:02d}" if rest else f"{hours} h"


_CHIPS = {
    "en": ("Newer", "Older", "Shorter", "Something lighter", "Darker", "No {}"),
    "pt": ("Mais novo", "Mais antigo", "Mais curto", "Mais leve", "Mais sombrio", "Sem {}"),
    "es": ("Más nueva", "Más antigua", "Más corta", "Más ligera", "Más oscura", "Sin {}"),
}


def chip_texts(genres: Mapping[str, int], language: str) -> list[str]:
    """Messages that may follow a list, in the order in which they are offered.

    Parameters
    ----------
    genres: how many of the items shown are of each genre.
    """
    newer, older, shorter, lighter, darker, no = _CHIPS[language]
    most = sorted(genres, key=lambda g: (-genres[g], g))[:2]
    without = [no.format(display_name("genre", g, language).lower()) for g in most]
    return [newer, shorter, lighter, *without, older, darker]


_KIND = {"genres": "genre", "keywords": "keyword", "countries": "country", "languages": "language"}


def _lower(text: str, kind: str) -> str:
    return text.lower() if kind in ("genre", "keyword") and text != "Sci-Fi" else text


def _joined(values: Sequence[str], word: str) -> str:
    return ", ".join(values[:-1]) + word + values[-1] if len(values) > 1 else values[0]


def wish_label(wish: Wish, language: str) -> str:
    """A wish in a few words: "no horror", "at most 2 h", "with Keanu Reeves"."""
    t = _T[language]
    kind = _KIND.get(wish.attribute, "")
    values = [_lower(display_name(kind, v, language), kind) if kind else v for v in wish.values]
    named = _joined(values, t["or"])
    match wish.attribute:
        case "year":
            return t[wish.field].format(named)
        case "runtime":
            return t[wish.field].format(duration(int(wish.values[0])))
        case "people":
            return t["without_person" if wish.negative else "with"].format(named)
        case "directors":
            return t["directed"].format(named)
        case "countries":
            return t["not_from" if wish.negative else "from_country"].format(named)
        case "languages":
            return t["not_in" if wish.negative else "in"].format(named)
    if wish.attribute == "keywords":
        return t["avoid"].format(named)
    return t["without"].format(named) if wish.negative else named


def wish_labels(wishes: Sequence[Wish], language: str) -> tuple[str, ...]:
    """Labels of several wishes; a first and a last year become one label."""
    bounds = {w.field: w.values[0] for w in wishes if w.attribute == "year"}
    low, high = bounds.get("year_min"), bounds.get("year_max")
    out = []
    for w in wishes:
        if low and high and w.field == "year_min":
            template = _T[language]["year" if low == high else "years"]
            out.append(template.format(low, high))
        elif not (low and high and w.field == "year_max"):
            out.append(wish_label(w, language))
    return tuple(out)


def reason(
    item: Item, preferences: Preferences, matched: Sequence[Wish], near: Item | None, language: str
) -> str:
    """Why this item: the facts of it that meet the wishes, then what it shares with a film named.

    Parameters
    ----------
    near: the film of the user's that it is closest to.
    """
    t = _T[language]
    facts: list[str] = []
    genres = [
        v
        for w in matched
        if w.attribute == "genres" and not w.negative
        for v in w.values
        if v in item.genres
    ]
    facts += [
        _lower(display_name("genre", g, language), "genre")
        for g in dict.fromkeys(genres or item.genres[:2])
    ]
    facts += [
        _lower(display_name("keyword", k, language), "keyword")
        for k in preferences.keywords
        if k in item.keywords
    ]
    fields = {w.attribute for w in matched}
    if "year" in fields and item.year:
        facts.append(str(item.year))
    if item.runtime:
        facts.append(duration(item.runtime))
    if "countries" in fields:
        facts += [display_name("country", c, language) for c in _asked_for(item.countries, matched)]
    if "languages" in fields:
        spoken = _asked_for(item.languages, matched)
        facts += [t["in"].format(display_name("language", c, language)) for c in spoken]
    asked = {v for w in matched if w.attribute == "people" and not w.negative for v in w.values}
    directors = [d for d in item.directors if d in asked or "directors" in fields]
    cast = [c for c in item.cast if c in asked]
    if directors:
        facts.append(t["directed"].format(_joined(directors, t["and"])))
    if cast:
        facts.append(t["with"].format(_joined(cast, t["and"])))
    if near is not None:
        shared = _shared(item, near, language)
        name = near.title_in(language)
        facts.append(
            t["shares"].format(_joined(shared, t["and"]), name)
            if shared
            else t["like"].format(name)
        )
    return ", ".join(facts)


def _asked_for(values: Sequence[str], matched: Sequence[Wish]) -> Sequence[str]:
    """The values that a wish names; the first one where wishes only say what is unwanted."""
    named = {v for w in matched if not w.negative for v in w.values}
    return [v for v in values if v in named] or values[:1]


def _shared(item: Item, near: Item, language: str) -> list[str]:
    """Up to two things that two items share and that say something, the rarest kind first."""
    people = [p for p in item.people if p in near.people]
    keywords = [
        _lower(display_name("keyword", k, language), "keyword")
        for k in item.keywords
        if k in near.keywords
    ]
    genres = [
        _lower(display_name("genre", g, language), "genre") for g in item.genres if g in near.genres
    ]
    return (people + keywords + genres)[:2]


def reply_text(
    recommendations: Sequence[Recommendation],
    preferences: Preferences,
    asked: Sequence[Wish],
    relaxed: Sequence[Wish],
    wanted: int,
) -> str:
    """The prose around a list, filled from what was executed.

    Parameters
    ----------
    asked: every hard wish. relaxed: those given up because nothing met them all.
    wanted: how many items were asked for.
    """
    language = preferences.language
    t = _T[language]
    parts: list[str] = []
    if preferences.unknown:
        parts.append(t["unknown"].format(_joined([f"“{u}”" for u in preferences.unknown], t["or"])))
    if not recommendations:
        return " ".join([*parts, t["nothing"]])
    keywords = [
        _lower(display_name("keyword", k, language), "keyword") for k in preferences.keywords
    ]
    understood = [*wish_labels(asked, language), *keywords]
    if understood:
        parts.append(t["wishes"].format(", ".join(understood)))
    if relaxed:
        parts.append(t["relaxed"].format(", ".join(wish_labels(relaxed, language))))
    titles = [r.item.title_in(language) for r in recommendations]
    found = t["found_one" if len(titles) == 1 else "found"]
    parts.append(
        found.format(
            _joined(
                [
                    f"{n} ({r.item.year})" if r.item.year else n
                    for n, r in zip(titles, recommendations, strict=True)
                ],
                t["and"],
            )
        )
    )
    if asked and not relaxed and len(recommendations) < wanted:
        parts.append(t["few_one"] if len(titles) == 1 else t["few"].format(len(titles)))
    if preferences.seen or preferences.dislikes:
        parts.append(t["excluded"])
    if not understood and not preferences.similar_to and not preferences.likes:
        parts.append(t["open"])
    return " ".join(parts)


def record_texts(item: Item, language: str) -> dict[str, str]:
    """The facts of an item as text by field: what a model is shown, and is held against."""

    def listed(name: str, values: Sequence[str]) -> str:
        kind = _KIND.get(name)
        return ", ".join(display_name(kind, v, language) if kind else v for v in values)

    title = item.title_in(language)
    texts = {
        "title": title,
        "original_title": item.original_title if item.original_title != title else "",
        "year": str(item.year or ""),
        "runtime": f"{item.runtime} {_MINUTES[language]}" if item.runtime else "",
        "genres": listed("genres", item.genres),
        "directors": listed("directors", item.directors),
        "cast": listed("cast", item.cast[:MAX_CAST]),
        "countries": listed("countries", item.countries),
        "languages": listed("languages", item.languages),
        "rating": f"{item.rating:g}/10" if item.rating is not None else "",
        "price": f"{item.price:.2f}" if item.price is not None else "",
        "description": item.description_in(language)[:MAX_DESCRIPTION],
    }
    return {name: shown for name, text in texts.items() if (shown := on_one_line(text))}


def on_one_line(text: str) -> str:
    """Text on one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
