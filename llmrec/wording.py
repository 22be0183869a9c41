"""Wording hides how wishes, reasons and replies are said in English, Portuguese and Spanish.

Every sentence is filled from catalogue fields and executed wishes, so each can be checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources

from llmrec.orders import without_orders
from llmrec.titles import words
from llmrec.types import LANGUAGES, Item, Preferences, Recommendation
from llmrec.wishes import Things, Wish

__all__ = [
    "amount",
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
        "again": "There is nothing new that goes with that, so here is what I have shown before.",
        "price": "price {}", "mentions": "mentions {}", "between": "from {} to {}",
        "unchecked": "The catalogue gives no {}, so I could not check: {}.", "nor": " or ",
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
        "again": "Não há nada novo que combine com isso, então mostro de novo o que já mostrei.",
        "price": "preço {}", "mentions": "menciona {}", "between": "de {} a {}",
        "unchecked": "O catálogo não informa {}, então não pude conferir: {}.", "nor": " nem ",
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
        "again": "No hay nada nuevo que encaje con eso, así que vuelvo a mostrar lo que ya mostré.",
        "price": "precio {}", "mentions": "menciona {}", "between": "de {} a {}",
        "unchecked": "El catálogo no indica {}, así que no pude comprobar: {}.", "nor": " ni ",
    },
}  # fmt: skip

# What is said otherwise of products.
_OF_PRODUCTS = {
    "en": {
        "with": "by {}", "without_person": "not by {}",
        "nothing": "I found no product in the catalogue that goes with that. Take back a wish, or say it in other words, and I will look again.",
        "open": "Tell me what it is for or what it should have, and I will narrow it down.",
        "relaxed": "No product meets all of it, so I gave up: {}.",
        "few_one": "Only one product in the catalogue meets everything.",
        "excluded": "I left out what you know already or did not like.",
    },
    "pt": {
        "with": "de {}", "without_person": "que não seja de {}",
        "nothing": "Não achei no catálogo nenhum produto que combine com isso. Retire um dos pedidos, ou diga com outras palavras, e eu procuro de novo.",
        "open": "Diga para que serve ou o que deve ter e eu afino a lista.",
        "relaxed": "Nenhum produto atende a tudo, então abri mão de: {}.",
        "few_one": "Só um produto do catálogo atende a tudo.",
        "excluded": "Deixei de fora o que você já conhece ou de que não gostou.",
    },
    "es": {
        "with": "de {}", "without_person": "que no sea de {}",
        "like": "cercano a {}",
        "nothing": "No encontré en el catálogo ningún producto que encaje con eso. Quita uno de los deseos, o dilo con otras palabras, y busco de nuevo.",
        "found_one": "Este es el que mejor encaja: {}.", "found": "Estos son los que mejor encajan: {}.",
        "open": "Dime para qué es o qué debe tener y afino la lista.",
        "relaxed": "Ningún producto lo cumple todo, así que renuncié a: {}.",
        "few_one": "Solo un producto del catálogo lo cumple todo.",
        "excluded": "Dejé fuera lo que ya conoces o no te gustó.",
    },
}  # fmt: skip
_FACTS = {  # what a catalogue may lack, in the plural
    "year": ("years", "anos", "años"),
    "runtime": ("running times", "durações", "duraciones"),
    "price": ("prices", "preços", "precios"),
    "genres": ("genres", "gêneros", "géneros"),
    "people": ("names of people", "nomes de pessoas", "nombres de personas"),
    "directors": ("directors", "quem dirige", "quién dirige"),
    "countries": ("countries", "países", "países"),
    "languages": ("spoken languages", "idiomas falados", "idiomas hablados"),
    "keywords": ("themes", "temas", "temas"),
}
MAX_MENTIONED = 4


@cache
def _texts(language: str, things: Things) -> dict[str, str]:
    return _T[language] | (_OF_PRODUCTS[language] if things == "products" else {})


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


def amount(price: float, language: str, *, cents: bool = True) -> str:
    """``24.9`` as ``24.90``, or ``24,90``. ``cents``: of whole numbers too."""
    shown = f"{price:.2f}" if cents or price != int(price) else f"{price:.0f}"
    return shown if language == "en" else shown.replace(".", ",")


_PRODUCT_CHIPS = {
    "en": ("Cheaper", "Show me others", "No {}"),
    "pt": ("Mais barato", "Mostre outros", "Sem {}"),
    "es": ("Más barato", "Muéstrame otros", "Sin {}"),
}
_CHIPS = {
    "en": ("Newer", "Older", "Shorter", "Something lighter", "Darker", "No {}"),
    "pt": ("Mais novo", "Mais antigo", "Mais curto", "Mais leve", "Mais sombrio", "Sem {}"),
    "es": ("Más nueva", "Más antigua", "Más corta", "Más ligera", "Más oscura", "Sin {}"),
}


def chip_texts(
    genres: Mapping[str, int], language: str, *, things: Things = "films", priced: bool = False
) -> list[str]:
    """Messages that may follow a list, in the order in which they are offered.

    Parameters
    ----------
    genres: how many of the items shown are of each genre.
    things: what the catalogue holds. priced: whether it gives prices.
    """
    no = (_PRODUCT_CHIPS if things == "products" else _CHIPS)[language][-1]
    most = sorted(genres, key=lambda g: (-genres[g], g))[:2]
    without = [no.format(display_name("genre", g, language).lower()) for g in most]
    if things == "products":
        cheaper, others, _ = _PRODUCT_CHIPS[language]
        return [*([cheaper] if priced else []), *without, others]
    newer, older, shorter, lighter, darker, _ = _CHIPS[language]
    return [newer, shorter, lighter, *without, older, darker]


_KIND = {"genres": "genre", "keywords": "keyword", "countries": "country", "languages": "language"}


def _lower(text: str, kind: str) -> str:
    return text.lower() if kind in ("genre", "keyword") and text != "Sci-Fi" else text


def _joined(values: Sequence[str], word: str) -> str:
    return ", ".join(values[:-1]) + word + values[-1] if len(values) > 1 else values[0]


def wish_label(wish: Wish, language: str, things: Things = "films") -> str:
    """A wish in a few words: "no horror", "at most 2 h", "with Keanu Reeves"."""
    t = _texts(language, things)
    kind = _KIND.get(wish.attribute, "")
    values = [_lower(display_name(kind, v, language), kind) if kind else v for v in wish.values]
    named = _joined(values, t["or"])
    match wish.attribute:
        case "year":
            return t[wish.field].format(named)
        case "runtime":
            return t[wish.field].format(duration(int(wish.values[0])))
        case "price":
            limit = "runtime_min" if wish.field == "price_min" else "runtime_max"
            return t[limit].format(amount(wish.bound, language, cents=False))
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


def wish_labels(wishes: Sequence[Wish], language: str, things: Things = "films") -> tuple[str, ...]:
    """Labels of several wishes; a first and a last year become one label, so do two prices."""
    t = _T[language]
    bounds = {w.field: w for w in wishes if w.attribute in ("year", "price")}
    out = []
    for w in wishes:
        low, high = bounds.get(f"{w.attribute}_min"), bounds.get(f"{w.attribute}_max")
        if low is None or high is None:
            out.append(wish_label(w, language, things))
        elif w is low and w.attribute == "year":
            template = t["year" if low.values == high.values else "years"]
            out.append(template.format(low.values[0], high.values[0]))
        elif w is low:
            ends = [amount(end.bound, language, cents=False) for end in (low, high)]
            out.append(t["between"].format(*ends))
    return tuple(out)


def reason(
    item: Item,
    preferences: Preferences,
    matched: Sequence[Wish],
    near: Item | None,
    language: str,
    *,
    things: Things = "films",
) -> str:
    """Why this item: the facts of it that meet the wishes, then what it shares with one named.

    Of an item without such facts: which of the words asked for stand in its texts.

    Parameters
    ----------
    near: the item of the user's that it is closest to.
    things: what the catalogue holds.
    """
    t = _texts(language, things)
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
        origin = _asked_for(item.countries, matched)
        facts += [display_name("country", c, language) for c in origin]
    if "languages" in fields:
        spoken = _asked_for(item.languages, matched)
        facts += [t["in"].format(display_name("language", c, language)) for c in spoken]
    facts += _people(item, matched, t)
    if not facts and (mentioned := _mentioned(item, preferences.text)):
        facts.append(t["mentions"].format(", ".join(f"“{w}”" for w in mentioned)))
    if item.price is not None:
        facts.append(t["price"].format(amount(item.price, language)))
    if near is not None:
        shared = _shared(item, near, language)
        name = near.title_in(language)
        facts.append(
            t["shares"].format(_joined(shared, t["and"]), name)
            if shared
            else t["like"].format(name)
        )
    return ", ".join(facts)


def _people(item: Item, matched: Sequence[Wish], t: Mapping[str, str]) -> list[str]:
    """The people of an item who were asked for, with what they did."""
    asked = {v for w in matched if w.attribute == "people" and not w.negative for v in w.values}
    any_director = any(w.attribute == "directors" for w in matched)
    directors = [d for d in item.directors if d in asked or any_director]
    cast = [c for c in item.cast if c in asked]
    return [
        t[key].format(_joined(people, t["and"]))
        for key, people in (("directed", directors), ("with", cast))
        if people
    ]


def _mentioned(item: Item, text: str) -> list[str]:
    """Words of ``text`` as they stand in the item's own texts, plural or not."""
    asked = dict.fromkeys(_singular(w) for w in text.split())
    found: dict[str, str] = {}
    for own in (*item.all_titles, item.description, *item.descriptions.values()):
        for w in words(own):
            if (key := _singular(w.key)) in asked:
                found.setdefault(key, own[w.start : w.end].lower())
    return [found[w] for w in asked if w in found][:MAX_MENTIONED]


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


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
    *,
    unchecked: Sequence[Wish] = (),
    again: bool = False,
    things: Things = "films",
) -> str:
    """The prose around a list, filled from what was executed.

    Parameters
    ----------
    asked: every hard wish that was executed. relaxed: those of them given up because nothing met
        them all.
    wanted: how many items were asked for.
    unchecked: hard wishes about facts that the catalogue does not give.
    again: whether items that were shown before are shown again, as nothing else is left.
    things: what the catalogue holds.
    """
    language = preferences.language
    t = _texts(language, things)
    parts: list[str] = []
    if preferences.unknown:
        parts.append(t["unknown"].format(_joined([f"“{u}”" for u in preferences.unknown], t["or"])))
    if unchecked:
        parts.append(_unchecked(unchecked, language, things))
    if not recommendations:
        return " ".join([*parts, t["nothing"]])
    keywords = [
        _lower(display_name("keyword", k, language), "keyword") for k in preferences.keywords
    ]
    understood = [*wish_labels(asked, language, things), *keywords]
    if understood:
        parts.append(t["wishes"].format(", ".join(understood)))
    if relaxed:
        parts.append(t["relaxed"].format(", ".join(wish_labels(relaxed, language, things))))
    if again:
        parts.append(t["again"])
    n = len(recommendations)
    named = _joined([r.item.label_in(language) for r in recommendations], t["and"])
    parts.append(t["found_one" if n == 1 else "found"].format(named))
    if asked and not (relaxed or unchecked) and n < wanted:
        parts.append(t["few_one"] if n == 1 else t["few"].format(n))
    if preferences.seen or preferences.dislikes:
        parts.append(t["excluded"])
    searched = unchecked or (things == "products" and preferences.text)
    if not (understood or searched or preferences.similar_to or preferences.likes):
        parts.append(t["open"])
    return " ".join(parts)


def _unchecked(wishes: Sequence[Wish], language: str, things: Things) -> str:
    place = LANGUAGES.index(language)
    t = _texts(language, things)
    facts = dict.fromkeys(_FACTS[w.attribute][place] for w in wishes)
    return t["unchecked"].format(
        _joined(list(facts), t["nor"]), ", ".join(wish_labels(wishes, language, things))
    )


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
        "description": without_orders(item.description_in(language), item.all_titles)[
            :MAX_DESCRIPTION
        ],
    }
    return {name: shown for name, text in texts.items() if (shown := on_one_line(text))}


def on_one_line(text: str) -> str:
    """Text on one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
