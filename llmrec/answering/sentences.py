"""Sentences hides how answers and refusals are said in English, Portuguese and Spanish.

Values are filled in as the catalogue has them, so that each can be held against its source.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from llmrec.titles import fold
from llmrec.types import Conversation, Item
from llmrec.wording import display_name, on_one_line, record_texts

__all__ = ["NAMES", "fact", "joined", "not_said", "say", "small_talk", "thing", "value"]

_KINDS = {"genres": "genre", "keywords": "keyword", "countries": "country", "languages": "language"}
_AND = {"en": (" and ", " or "), "pt": (" e ", " ou "), "es": (" y ", " o ")}

# What a field, or a thing that no field holds, is called where the catalogue does not say it.
NAMES: Mapping[str, Mapping[str, str]] = {
    "en": {
        "year": "the year", "runtime": "the running time", "genres": "the genre",
        "directors": "who directed it", "cast": "who is in it", "people": "who made it",
        "countries": "the country", "languages": "the language", "rating": "a rating",
        "price": "the price", "popularity": "how well known it is", "keywords": "its themes",
        "original_title": "the original title", "description": "what it is about",
        "titles": "other titles",
    },
    "pt": {
        "year": "o ano", "runtime": "a duração", "genres": "o gênero",
        "directors": "quem dirigiu", "cast": "quem atua", "people": "quem fez",
        "countries": "o país", "languages": "o idioma", "rating": "a nota",
        "price": "o preço", "popularity": "o quanto é conhecido", "keywords": "os temas",
        "original_title": "o título original", "description": "do que se trata",
        "titles": "outros títulos",
    },
    "es": {
        "year": "el año", "runtime": "la duración", "genres": "el género",
        "directors": "quién dirigió", "cast": "quién actúa", "people": "quién lo hizo",
        "countries": "el país", "languages": "el idioma", "rating": "la nota",
        "price": "el precio", "popularity": "lo conocido que es", "keywords": "los temas",
        "original_title": "el título original", "description": "de qué trata",
        "titles": "otros títulos",
    },
}  # fmt: skip

# The same of one item, or of several.
_OF: Mapping[str, Mapping[str, str]] = {
    "en": {
        "year": "the year of {t}", "runtime": "how long {t} runs", "genres": "the genre of {t}",
        "directors": "who directed {t}", "cast": "who is in {t}", "people": "who made {t}",
        "countries": "where {t} comes from", "languages": "the language of {t}",
        "rating": "how {t} is rated", "price": "the price of {t}",
        "popularity": "how well known {t} is", "keywords": "the themes of {t}",
        "original_title": "the original title of {t}", "description": "what {t} is about",
        "titles": "other titles of {t}", "filming place": "where {t} was filmed",
        "setting": "where {t} takes place", "budget": "the budget of {t}",
        "box office": "what {t} took at the box office", "soundtrack": "who wrote the music of {t}",
        "awards": "which awards {t} won", "streaming": "where {t} can be watched",
        "age rating": "from which age {t} is", "sequel": "whether {t} has a sequel",
        "writer": "who wrote {t}", "based on": "what {t} is based on", "ending": "how {t} ends",
        "material": "what {t} is made of", "weight": "how much {t} weighs",
        "size": "the size of {t}", "colour": "the colour of {t}", "warranty": "the warranty of {t}",
        "brand": "the brand of {t}", "battery": "which battery {t} has",
    },
    "pt": {
        "year": "o ano de {t}", "runtime": "quanto dura {t}", "genres": "o gênero de {t}",
        "directors": "quem dirigiu {t}", "cast": "quem atua em {t}", "people": "quem fez {t}",
        "countries": "de onde vem {t}", "languages": "o idioma de {t}",
        "rating": "a nota de {t}", "price": "o preço de {t}",
        "popularity": "o quanto {t} é conhecido", "keywords": "os temas de {t}",
        "original_title": "o título original de {t}", "description": "do que se trata {t}",
        "titles": "outros títulos de {t}", "filming place": "onde {t} foi filmado",
        "setting": "onde se passa {t}", "budget": "o orçamento de {t}",
        "box office": "a bilheteria de {t}", "soundtrack": "de quem é a música de {t}",
        "awards": "que prêmios {t} ganhou", "streaming": "onde assistir {t}",
        "age rating": "a classificação indicativa de {t}", "sequel": "se {t} tem continuação",
        "writer": "quem escreveu {t}", "based on": "em que {t} se baseia", "ending": "como termina {t}",
        "material": "de que é feito {t}", "weight": "quanto pesa {t}",
        "size": "o tamanho de {t}", "colour": "a cor de {t}", "warranty": "a garantia de {t}",
        "brand": "a marca de {t}", "battery": "que bateria usa {t}",
    },
    "es": {
        "year": "el año de {t}", "runtime": "cuánto dura {t}", "genres": "el género de {t}",
        "directors": "quién dirigió {t}", "cast": "quién actúa en {t}", "people": "quién hizo {t}",
        "countries": "de dónde viene {t}", "languages": "el idioma de {t}",
        "rating": "la nota de {t}", "price": "el precio de {t}",
        "popularity": "lo conocida que es {t}", "keywords": "los temas de {t}",
        "original_title": "el título original de {t}", "description": "de qué trata {t}",
        "titles": "otros títulos de {t}", "filming place": "dónde se rodó {t}",
        "setting": "dónde transcurre {t}", "budget": "el presupuesto de {t}",
        "box office": "la taquilla de {t}", "soundtrack": "de quién es la música de {t}",
        "awards": "qué premios ganó {t}", "streaming": "dónde ver {t}",
        "age rating": "para qué edad es {t}", "sequel": "si {t} tiene secuela",
        "writer": "quién escribió {t}", "based on": "en qué se basa {t}", "ending": "cómo acaba {t}",
        "material": "de qué está hecho {t}", "weight": "cuánto pesa {t}",
        "size": "el tamaño de {t}", "colour": "el color de {t}", "warranty": "la garantía de {t}",
        "brand": "la marca de {t}", "battery": "qué batería usa {t}",
    },
}  # fmt: skip

_FACTS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "year": "{t} is from {v}.", "runtime": "{t} runs for {v}.", "genres": "The genre of {t}: {v}.",
        "directors": "{t} was directed by {v}.", "cast": "The cast of {t}: {v}.",
        "people": "The people behind {t}: {v}.", "countries": "{t} comes from {v}.",
        "languages": "The language of {t}: {v}.", "rating": "{t} is rated {v}.",
        "price": "{t} costs {v}.", "keywords": "The themes of {t}: {v}.",
        "original_title": "The original title of {t} is {v}.", "description": "{t}: {v}",
        "titles": "{t} is also called {v}.",
        "popularity": "On a scale from 0 to 1, the popularity of {t} is {v}.",
    },
    "pt": {
        "year": "{t} é de {v}.", "runtime": "{t} dura {v}.", "genres": "O gênero de {t}: {v}.",
        "directors": "A direção de {t} é de {v}.", "cast": "O elenco de {t}: {v}.",
        "people": "Quem fez {t}: {v}.", "countries": "{t} vem de: {v}.",
        "languages": "O idioma de {t}: {v}.", "rating": "A nota de {t} é {v}.",
        "price": "{t} custa {v}.", "keywords": "Os temas de {t}: {v}.",
        "original_title": "O título original de {t} é {v}.", "description": "{t}: {v}",
        "titles": "{t} também se chama {v}.",
        "popularity": "Numa escala de 0 a 1, a popularidade de {t} é {v}.",
    },
    "es": {
        "year": "{t} es de {v}.", "runtime": "{t} dura {v}.", "genres": "El género de {t}: {v}.",
        "directors": "La dirección de {t} es de {v}.", "cast": "El reparto de {t}: {v}.",
        "people": "Detrás de {t} están {v}.", "countries": "{t} viene de: {v}.",
        "languages": "El idioma de {t}: {v}.", "rating": "La nota de {t} es {v}.",
        "price": "{t} cuesta {v}.", "keywords": "Los temas de {t}: {v}.",
        "original_title": "El título original de {t} es {v}.", "description": "{t}: {v}",
        "titles": "{t} también se llama {v}.",
        "popularity": "En una escala de 0 a 1, la popularidad de {t} es {v}.",
    },
}  # fmt: skip

_SAID: Mapping[str, Mapping[str, str]] = {
    "en": {
        "not said": "The catalogue does not say {what}.",
        "not said at all": "The catalogue does not say that of {t}.",
        "no such fact": "The catalogue does not hold {what}, so I cannot tell.",
        "unknown title": "I do not know {name} from this catalogue.",
        "no match": "Nothing in the catalogue meets that.",
        "unclear": "Which title do you mean?",
        "several": "Which one do you mean: {names}?",
        "out of scope": "That is outside what I can help with: I answer from this catalogue and recommend from it.",
        "smalltalk": "Hello! Tell me what you are looking for, or ask about a title of the catalogue.",
        "thanks": "You are welcome. Shall I look for something else?",
        "bye": "Goodbye, until next time!",
        "who": "I recommend from a catalogue, answer questions about what is in it, and describe it. What are you looking for?",
        "quoted": "The catalogue says of {t}: “{v}”",
        "yes": "Yes: {fact}", "no": "No: {fact}",
        "max year": "{a} is newer ({x}) than {b} ({y}).", "min year": "{a} is older ({x}) than {b} ({y}).",
        "max runtime": "{a} is longer ({x}) than {b} ({y}).", "min runtime": "{a} is shorter ({x}) than {b} ({y}).",
        "max rating": "{a} is rated higher ({x}) than {b} ({y}).", "min rating": "{a} is rated lower ({x}) than {b} ({y}).",
        "max price": "{a} costs more ({x}) than {b} ({y}).", "min price": "{a} costs less ({x}) than {b} ({y}).",
        "max popularity": "{a} is better known than {b}.", "min popularity": "{a} is less known than {b}.",
        "equal": "They are equal: {x} each.", "both": "{a}: {x}. {b}: {y}.",
        "shared": "Yes, they share {what}: {v}.", "not shared": "No. {a}: {x}. {b}: {y}.",
        "count": "There are {n} in the catalogue.", "count one": "There is 1 in the catalogue: {t}.",
        "count some": "There are {n} in the catalogue, {t} among them.",
        "best": "It is {t}: {v}.", "best of": "They are {t}: {v} each.",
        "list": "In the catalogue there is {t}.", "list more": "In the catalogue there are {n}, {t} among them.",
        "list all": "In the catalogue there are {n}: {t}.",
    },
    "pt": {
        "not said": "O catálogo não diz {what}.",
        "not said at all": "O catálogo não diz isso sobre {t}.",
        "no such fact": "O catálogo não traz {what}, então não sei dizer.",
        "unknown title": "Não conheço {name} neste catálogo.",
        "no match": "Nada no catálogo atende a isso.",
        "unclear": "De qual título você está falando?",
        "several": "De qual deles você está falando: {names}?",
        "out of scope": "Isso foge do que eu posso fazer: respondo com o que está neste catálogo e recomendo a partir dele.",
        "smalltalk": "Olá! Diga o que procura, ou pergunte sobre um título do catálogo.",
        "thanks": "De nada. Quer que eu procure mais alguma coisa?",
        "bye": "Até a próxima!",
        "who": "Eu recomendo a partir de um catálogo, respondo perguntas sobre o que há nele e descrevo os títulos. O que você procura?",
        "quoted": "O catálogo diz sobre {t}: “{v}”",
        "yes": "Sim: {fact}", "no": "Não: {fact}",
        "max year": "{a} é mais novo ({x}) que {b} ({y}).", "min year": "{a} é mais antigo ({x}) que {b} ({y}).",
        "max runtime": "{a} é mais longo ({x}) que {b} ({y}).", "min runtime": "{a} é mais curto ({x}) que {b} ({y}).",
        "max rating": "{a} tem nota mais alta ({x}) que {b} ({y}).", "min rating": "{a} tem nota mais baixa ({x}) que {b} ({y}).",
        "max price": "{a} custa mais ({x}) que {b} ({y}).", "min price": "{a} custa menos ({x}) que {b} ({y}).",
        "max popularity": "{a} é mais conhecido que {b}.", "min popularity": "{a} é menos conhecido que {b}.",
        "equal": "São iguais: {x} cada um.", "both": "{a}: {x}. {b}: {y}.",
        "shared": "Sim, têm em comum {what}: {v}.", "not shared": "Não. {a}: {x}. {b}: {y}.",
        "count": "Há {n} no catálogo.", "count one": "Há 1 no catálogo: {t}.",
        "count some": "Há {n} no catálogo, entre eles {t}.",
        "best": "É {t}: {v}.", "best of": "São {t}: {v} cada um.",
        "list": "No catálogo há {t}.", "list more": "No catálogo há {n}, entre eles {t}.",
        "list all": "No catálogo há {n}: {t}.",
    },
    "es": {
        "not said": "El catálogo no dice {what}.",
        "not said at all": "El catálogo no dice eso de {t}.",
        "no such fact": "El catálogo no trae {what}, así que no lo sé.",
        "unknown title": "No conozco {name} en este catálogo.",
        "no match": "Nada del catálogo cumple con eso.",
        "unclear": "¿De qué título hablas?",
        "several": "¿De cuál hablas: {names}?",
        "out of scope": "Eso queda fuera de lo que puedo hacer: respondo con lo que hay en este catálogo y recomiendo a partir de él.",
        "smalltalk": "¡Hola! Dime qué buscas, o pregunta por un título del catálogo.",
        "thanks": "De nada. ¿Busco algo más?",
        "bye": "¡Hasta la próxima!",
        "who": "Recomiendo a partir de un catálogo, respondo preguntas sobre lo que hay en él y describo los títulos. ¿Qué buscas?",
        "quoted": "El catálogo dice de {t}: “{v}”",
        "yes": "Sí: {fact}", "no": "No: {fact}",
        "max year": "{a} es más reciente ({x}) que {b} ({y}).", "min year": "{a} es más antigua ({x}) que {b} ({y}).",
        "max runtime": "{a} es más larga ({x}) que {b} ({y}).", "min runtime": "{a} es más corta ({x}) que {b} ({y}).",
        "max rating": "{a} tiene una nota más alta ({x}) que {b} ({y}).", "min rating": "{a} tiene una nota más baja ({x}) que {b} ({y}).",
        "max price": "{a} cuesta más ({x}) que {b} ({y}).", "min price": "{a} cuesta menos ({x}) que {b} ({y}).",
        "max popularity": "{a} es más conocida que {b}.", "min popularity": "{a} es menos conocida que {b}.",
        "equal": "Son iguales: {x} cada una.", "both": "{a}: {x}. {b}: {y}.",
        "shared": "Sí, tienen en común {what}: {v}.", "not shared": "No. {a}: {x}. {b}: {y}.",
        "count": "Hay {n} en el catálogo.", "count one": "Hay 1 en el catálogo: {t}.",
        "count some": "Hay {n} en el catálogo, entre ellas {t}.",
        "best": "Es {t}: {v}.", "best of": "Son {t}: {v} cada una.",
        "list": "En el catálogo está {t}.", "list more": "En el catálogo hay {n}, entre ellas {t}.",
        "list all": "En el catálogo hay {n}: {t}.",
    },
}  # fmt: skip


def say(key: str, language: str, **values: object) -> str:
    """One of the sentences, filled."""
    return _SAID[language][key].format(**values)


_TALK = (
    ("thanks", r"\b(?:thank\w*|thx|ty|cheers|obrigad\w*|valeu|vlw|gracias|grax|brigad\w+)\b"),
    ("bye", r"\b(?:bye|goodbye|see you|good night|tchau|ate (?:logo|mais|amanha|a proxima)|boa noite|adeus|adios|chao|chau|hasta (?:luego|pronto|manana)|nos vemos|buenas noches)\b"),
    ("who", r"\b(?:who|what|how) (?:are|r|can|do) (?:you|u)\b|\bquem (?:e|es) (?:voce|vc|tu)\b|\bo que (?:voce|vc) (?:faz|sabe|pode)|\bquien eres\b|\bque (?:puedes|sabes|haces)\b|\b(?:bot|robot|robo|humano|human|ai|ia)\b"),
)  # fmt: skip


def small_talk(conversation: Conversation, route: str, language: str) -> str:
    """A sentence for small talk, or for what is out of scope."""
    if route == "out_of_scope":
        return say("out of scope", language)
    plain = fold(conversation.messages[-1].content)
    return say(next((k for k, p in _TALK if re.search(p, plain)), "smalltalk"), language)


def not_said(what: str, items: Sequence[Item], language: str) -> str:
    """That the catalogue does not have a field of some items, or say a thing of them."""
    things = joined([thing(i, language) for i in items], language)
    if what not in _OF[language]:
        return say("not said at all", language, t=things)
    return say("not said", language, what=_OF[language][what].format(t=things))


def thing(item: Item, language: str) -> str:
    """How an item is called in a sentence: its title in quotation marks."""
    return f"“{on_one_line(item.title_in(language))}”"


def joined(values: Sequence[str], language: str, *, either: bool = False) -> str:
    """``a, b and c``."""
    if len(values) < 2:
        return "".join(values)
    word = _AND[language][either]
    if language == "es" and not either and fold(values[-1]).startswith(("i", "hi")):
        word = " e "
    return ", ".join(values[:-1]) + word + values[-1]


def value(item: Item, field: str, language: str) -> str:
    """What the catalogue has in a field, in words; empty where it has nothing."""
    if field == "titles":
        main = item.title_in(language)
        return joined([on_one_line(t) for t in item.all_titles if t != main], language, either=True)
    if field in ("genres", "directors", "cast", "people", "countries", "languages", "keywords"):
        names = getattr(item, field)
        kind = _KINDS.get(field)
        shown = [display_name(kind, v, language) if kind else v for v in names]
        return joined([on_one_line(v) for v in shown], language)
    if field == "popularity":
        return f"{item.popularity:.2f}" if item.popularity else ""
    if field == "original_title":
        return on_one_line(item.original_title)
    if field == "price" and item.price is not None:
        return f"{item.price:.2f}" if language == "en" else f"{item.price:.2f}".replace(".", ",")
    return record_texts(item, language).get(field, "")


def fact(item: Item, field: str, language: str) -> str:
    """A sentence that says a field of an item; empty where the catalogue does not have it."""
    said = value(item, field, language)
    return _FACTS[language][field].format(t=thing(item, language), v=said) if said else ""
