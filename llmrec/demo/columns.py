# ruff: noqa: E501  (lists of names stay in one piece)
"""Columns hides how it is guessed which column of a table holds what."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

from llmrec.demo.cells import LONGEST, image_in, is_nothing, names_in, number_in
from llmrec.demo.untrusted import Read
from llmrec.records import LISTS, NUMBERS
from llmrec.titles import fold
from llmrec.types import LANGUAGES

__all__ = ["FIELDS", "PEEK", "propose", "words_of"]

# Fields of Item that a column can be given to, in the order in which the screen offers them.
FIELDS = (
    "title", "id", "year", "description", "genres", "directors", "cast", "runtime", "price",
    "rating", "image", "popularity", "keywords", "countries", "languages", "original_title",
    "titles.pt", "titles.es", "descriptions.pt", "descriptions.es",
)  # fmt: skip
_ADDRESS = re.compile(r"\s*(?:https?:|www\.|//)", re.IGNORECASE)
_PICTURE = re.compile(r"\.(?:jpe?g|png|webp|gif|avif)(?:$|\?)", re.IGNORECASE)
_CODE = re.compile(r"[\w-]*\d[\w-]*")
_LETTERS = re.compile(r"[^\W\d_]+")


# Names of columns, likeliest first, as people and published data sets write them; blanks, marks,
# accents and capitals do not count.
_GUESSES = {
    "title": "title, name, names, titles, primary title, series title, movie title, movie name, film title, film name, book title, product title, product name, item name, track name, game title, show title, movie, film, book, product, game, song, album, titulo, nome, nombre, filme, pelicula, livro, libro, produto, producto, jogo, juego",
    "id": "id, uid, asin, parent asin, sku, product id, uniq id, item id, movie id, film id, book id, show id, track id, app id, anime id, mal id, tmdb id, tconst, imdb title id, imdb id, isbn13, isbn, codigo, ean",
    "year": "year, release year, released year, title year, start year, year released, publication year, original publication year, published year, made, released, release date, original release date, date published, first publish date, publish date, publication date, date, ano, ano de lancamento, lancamento, ano de publicacao, ano de estreno, estreno, fecha de estreno, data de lancamento, fecha, data",
    "description": "description, overview, plot, plot summary, plot synopsis, storyline, summary, synopsis, about the game, about product, short description, detailed description, movie info, content, text, body, about, details, product description, desc, descricao, sinopse, descripcion, sinopsis, argumento, trama, enredo, resumo, resumen, conteudo, contenido",
    "genres": "genres, genre, listed in, category name, categories, category, main category, sub category, product category, track genre, kind, generos, genero, categorias, categoria, departamento, tipo, type",
    "directors": "directors, director, director name, directed by, diretor, diretores, diretora, direcao, directores, directora, direccion, realizador",
    "cast": "cast, actors, actor, starring, stars, star cast, main cast, cast members, star 1, actor 1 name, elenco, atores, actores, reparto, interpretes, protagonistas, artists, artist, artist name, artistas, artista, authors, author, author name, writers, autores, autor, autora, escritor",
    "runtime": "runtime, runtime minutes, running time, duration, length, minutes, mins, min, duracao, duracion, minutos, metragem",
    "price": "price, sale price, discounted price, current price, selling price, final price, unit price, list price, actual price, retail price, original price, cost, preco, precio, valor, preco final, precio final, importe",
    "rating": "rating, imdb rating, imdb score, vote average, average rating, avg rating, avg vote, rating average, mean rating, stars, score, user score, mean score, ratings, nota, nota media, nota imdb, avaliacao, avaliacao media, puntuacion, calificacion, valoracion, puntaje, estrelas, estrellas",
    "popularity": "num votes, number of votes, no of votes, num voted users, vote count, votes, imdb votes, rating number, rating count, ratings count, number of ratings, no of ratings, num ratings, review count, reviews count, number of reviews, no of reviews, audience count, nb mentions, mentions, positive, members, popularity, reviews, votos, numero de votos, avaliacoes, popularidade, popularidad, resenas",
    "keywords": "keywords, plot keywords, tags, themes, theme, subjects, topics, palavras chave, palabras clave, etiquetas, marcadores, temas, tema, assuntos",
    "countries": "countries, country, production countries, country of origin, origin country, origin ethnicity, pais, paises, pais de origem, pais de origen, origem",
    "languages": "languages, language, spoken languages, supported languages, original language, language code, lang, idioma, idiomas, lingua, idioma original",
    "original_title": "original title, orig title, original name, titulo original, nome original, nombre original",
    "titles.pt": "titles pt, title pt, titulo pt, titulo br, title pt br, portuguese title, titulo em portugues",
    "titles.es": "titles es, title es, titulo es, spanish title, titulo en espanol",
    "descriptions.pt": "descriptions pt, description pt, overview pt, descricao pt, sinopse pt",
    "descriptions.es": "descriptions es, description es, overview es, descripcion es, sinopsis es",
    "image": "image, image url, img, img url, img link, image link, images, primary image, main image, header image, poster, poster url, poster link, poster path, cover, cover url, cover img, cover image, thumbnail, thumbnail url, picture, photo, imagem, imagens, capa, cartaz, foto, imagen, imagenes, portada, caratula, afiche",
}  # fmt: skip
# What names carry besides, at either end: units, currencies, languages, and what the things are.
_UNITS = frozenset(
    """min mins minute minutes minutos ms msec milliseconds s sec secs seconds segundos h hr hrs hour
    hours horas in em en us usd brl eur gbp mxn ars inr eng english real reais euros dolares pesos""".split()
)
_NOUNS = _UNITS | frozenset(
    """movie movies film films book books product products item items game games show shows track
    tracks song songs album albums anime imdb tmdb filme filmes livro livros produto produtos jogo
    jogos pelicula peliculas libro libros producto productos juego juegos the of do da dos das de del
    la las los""".split()
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
PEEK = 100  # rows whose values are looked at
_FEW = 3  # values that say little alone


def propose(read: Read) -> dict[str, str]:
    """Which column each field is probably in, by the names of the columns and their values.

    A column is given to one field at most, and only where most of its values can be of that field.
    Of the columns whose names say nothing, one of years is the year, one of addresses of pictures
    the image, and, where nothing else is the title, the first one of different short texts is.
    """
    values = _peek(read)
    bids = sorted(
        (how, FIELDS.index(name), at, name, column)
        for at, column in enumerate(read.columns)
        for name, how in _named(column)
    )
    found: dict[str, str] = {}
    for *_, name, column in bids:
        if name not in found and column not in found.values() and _fits(name, values[column]):
            found[name] = column
    unnamed = [c for c in read.columns if c not in {bid[-1] for bid in bids}]
    for name in ("year", "image", "title"):
        free = (c for c in unnamed if c not in found.values() and _shows(name, values[c]))
        if name in FIELDS and name not in found and (column := next(free, "")):
            found[name] = column
    return {name: found[name] for name in FIELDS if name in found}


def _peek(read: Read) -> dict[str, list[Any]]:
    """The first values of each column, without those that stand for nothing."""
    values: dict[str, list[Any]] = {column: [] for column in read.columns}
    with contextlib.suppress(OSError):  # the visitor may have left, and the rows with the visit
        for _, row in itertools.islice(read, PEEK):
            for column, value in row.items():
                if value not in (None, [], {}) and not is_nothing(value):
                    values[column].append(value)
    return values


def words_of(column: str) -> list[str]:
    """The words of a column's name, however they are joined."""
    return fold(_CAMEL.sub(" ", re.sub(r"[_.]", " ", column))).split()


def _named(column: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """The fields that a column may be called by, each with how far off the name is."""
    forms = [words_of(column), words_of(re.sub(r"[(\[{].*?[)\]}]", " ", column))]
    for extra in (_UNITS, _NOUNS):
        own = list(forms[1])
        while len(own) > 1 and own[-1] in extra:
            own.pop()
        while len(own) > 1 and own[0] in extra:
            own.pop(0)
        forms.append(own)
    names = ["".join(form) for form in forms]
    for field_, ranks in _ranks().items():
        near = [(level, ranks[name]) for level, name in enumerate(names) if name in ranks]
        if near:
            yield field_, near[0]


@functools.cache
def _ranks() -> dict[str, dict[str, int]]:
    return {
        name: {g.replace(" ", ""): n for n, g in reversed([*enumerate(_GUESSES[name].split(", "))])}
        for name in FIELDS
    }


def _fits(name: str, values: Sequence[Any]) -> bool:
    """Whether most of some values can be of a field; a column without any is believed."""
    return 2 * sum(_can_be(name, v) for v in values) >= len(values)


def _can_be(name: str, value: Any) -> bool:
    if name == "image":
        return bool(image_in(value))
    if name in NUMBERS:
        if name == "popularity" and isinstance(value, str) and len(_LETTERS.findall(value)) > 2:
            return False
        number = number_in(name, value)
        low, high = NUMBERS[name]
        most = {"popularity": math.inf, "runtime": math.inf, "rating": 100.0}.get(name, high)
        return number is not None and (low if name == "year" else 0.0) <= number <= most
    if isinstance(value, (list, dict)):
        if name == "description":
            return isinstance(value, list) or any(k in value for k in LANGUAGES)
        return name in LISTS and any(map(_is_text, names_in(value)))
    if name in ("title", "id", "original_title") or name.startswith("titles"):
        return not isinstance(value, bool) and not _ADDRESS.match(str(value))
    return _is_text(value) and not (name == "description" and value.startswith("{"))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(_LETTERS.search(value)) and not _ADDRESS.match(value)


def _shows(name: str, values: Sequence[Any]) -> bool:
    """Whether values are a field's by themselves."""
    if len(values) < _FEW:
        return False
    if name == "year":
        years = [str(v).removesuffix(".0") for v in values]
        this = time.localtime().tm_year
        return all(y.isascii() and y.isdigit() and 1890 <= int(y[:9]) <= this for y in years)
    if name == "image":
        return all(_PICTURE.search(image_in(v)) for v in values)
    short = all(_is_text(v) and len(v) <= LONGEST["title"] for v in values)
    coded = sum(bool(_CODE.fullmatch(v)) for v in values) if short else 0
    return short and 2 * coded < len(values) and 10 * len({*values}) >= 9 * len(values)
