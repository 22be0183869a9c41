"""Texts hides what a description says and does not say: its sentences, its subjects, its names."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmrec.evaluation.asking.words import nouns, speaks_of
from llmrec.titles import fold
from llmrec.types import Item

__all__ = ["directors_in", "sentences", "silent", "subjects", "talks_of"]

_END = re.compile(r"(?<=[.!?…])[\"”’)]*\s+(?=[\"“¿¡(]?[A-ZÁÉÍÓÚÂÊÔÀÃÕÇÑ0-9])")
_SHORT = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|Jr|Sr|St|Sra|Dra|vs|No|Lt|Col|Gen|Capt|[A-Z])|\.[A-Z])\.$"
)
_CAPITAL = r"[A-ZÁÉÍÓÚÂÊÔÃÕÇÑ][\w'’-]+"
_PROPER = re.compile(rf"{_CAPITAL}(?: (?:of |de |da |do |del |von |van )?{_CAPITAL})*")
_INITIAL = r"(?:(?:[A-Z]\.)+|[A-Z][\w'’-]+|Jr\.|de|van|von|du|la|del|der|di|da)"
_NAME = rf"[A-Z](?:\.|[\w'’-]+)(?: {_INITIAL})* [A-Z][\w'’-]+(?: Jr\.)?"
_NAMES = rf"{_NAME}(?:(?:, and |, | and ){_NAME})*"
_DIRECTED = re.compile(
    rf"(?<![-\w])directed by ({_NAMES})(?=[.,;]| [a-z]|$)(?! and [A-Z])(?! \w+ under\b)"
)
# A noun after its article, where what follows ends the phrase. Its ending goes with the article:
# in Portuguese and Spanish the same small words stand before verbs ("a persegue", "los apoya").
_MAN, _WOMAN, _MANY = r"\w{4,}[orlmnz]", r"\w{4,}(?:a|ão|ade|gem|ción|dad)", r"\w{4,}[oae]s"
_NOUN = {
    "en": r"(?:an?|the|his|her|their|its) ([a-z][a-z-]{4,}(?: [a-z][a-z-]{4,})?)(?=[.,;:]|$)",
    "pt": rf"(?:(?:um|o|seu|do|no) ({_MAN})|(?:uma|a|sua|da|na) ({_WOMAN})|(?:os|as|seus|suas|dos"
    rf"|das|nos|nas) ({_MANY}))(?=[.,;:]|$| e | que | de | em )",
    "es": rf"(?:(?:un|el|del|al) ({_MAN})|(?:una|la) ({_WOMAN})|(?:los|las|sus|unos|unas)"
    rf" ({_MANY}))(?=[.,;:]|$| y | que | de | en )",
}
_PHRASE = {language: re.compile(rf"\b{noun}") for language, noun in _NOUN.items()}
_COMMON = frozenset(
    """american british english french german italian spanish canadian danish swedish polish
    russian japanese chinese korean mexican indian irish scottish turkish brazilian cuban argentine
    australian european african jewish black white film movie university
    pictures january february march april may june july august september october november
    december first second third world another other others others several story series
    outros outras outro outra mesmo mesma mesmos otros otras otro otra mismo misma historia
    filme pelicula pessoas vida people which where while there their""".split()
)
_LACKS = {
    "directors": "direct dirig diret filmmaker film-maker helm cineast",
    "cast": "star featur play portray actor actress cast role lead elenco atu reparto protagon "
    "voic cameo",
    "runtime": "minut hour reel runn run length durat short featurette long hora",
    "countries": "american british english french german italian spanish mexic japan chin canad "
    "austral indian swed dan russ sovi irish scot us usa u s states uk kingdom hong intern",
    "languages": "american english british french german italian spanish mexic japan chin languag "
    "silent speak spoken bilingual portugu dub hindi russ",
    "rating": "rated rating star score review critic acclaim stars nota",
    "price": "price cost dollar usd sale cheap worth pric prec",
}


def sentences(text: str) -> list[str]:
    """The sentences of a text; initials and titles of persons end none."""
    out: list[str] = []
    for part in _END.split(" ".join(text.split())):
        if out and _SHORT.search(out[-1]):
            out[-1] += " " + part
        elif part:
            out.append(part)
    return out


def subjects(item: Item, language: str) -> list[tuple[str, str]]:
    """Names and nouns that one sentence of the description alone speaks of, with that sentence."""
    parts = sentences(item.description_in(language))
    written = language if item.descriptions.get(language) else "en"
    title = {w for name in item.all_titles for w in fold(name).split()}
    found = []
    for sentence in parts:
        for entity in dict.fromkeys(_entities(sentence, written)):
            words = fold(entity).split()
            said = [s for s in parts if f" {fold(entity)} " in f" {fold(s)} "]
            if len(said) == 1 and not title & set(words) and not _COMMON & set(words):
                found.append((entity, sentence))
    return found


def _entities(sentence: str, language: str) -> Iterator[str]:
    for match in _PROPER.finditer(sentence):
        if match.start() > 0 and len(match[0]) > 3:
            yield match[0]
    for match in _PHRASE[language].finditer(sentence):
        yield next(group for group in match.groups() if group)


def everything(item: Item) -> str:
    """All texts of an item, folded."""
    texts = [*item.all_titles, item.description, *item.descriptions.values()]
    texts += [*item.people, *item.genres, *item.countries, *item.languages, *item.keywords]
    return fold(" ".join(texts))


def talks_of(item: Item, entity: str) -> bool:
    """Whether a word of the entity, or one that begins alike, stands in anything of the item."""
    stems = [w[:5] for w in fold(entity).split() if len(w) > 3]
    return speaks_of(everything(item), stems or [fold(entity)])


def silent(item: Item, field: str) -> bool:
    """Whether an item lacks a field and its description seems to say nothing of it either."""
    if getattr(item, field) not in (None, "", ()):
        return False
    text = " ".join([item.description, *item.descriptions.values()])
    if field == "year":
        return not re.search(r"\b(?:1[89]|20)\d\d\b", text)
    if field == "genres":
        stems = [fold(n.one).split()[0] for by in nouns().values() for n in by.values()]
        return not speaks_of(text, [*stems, "thrill", "roman", "music", "genre", "com", "dram"])
    return not speaks_of(text, _LACKS[field].split())


def directors_in(item: Item) -> tuple[str, ...]:
    """Who directed it by its English description, where that says it once and plainly."""
    text = item.description
    found = _DIRECTED.findall(text)
    if len(found) != 1 or len(re.findall(r"direct", text, re.IGNORECASE)) != 1:
        return ()
    return tuple(n.strip() for n in re.split(r", and |, | and ", found[0]))
