# ruff: noqa: E501  (sentences stay in one piece)
"""Uploads hides how rows of unknown origin become a visitor's own catalogue.

`llmrec.demo.untrusted` has read them; here their columns are given to fields of Item, values are
mended as far as they can be, and what cannot be used is told of with its line. What a visitor
brings lies in one temporary folder, which goes with the visitor.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import math
import re
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrec.cleaning import clean
from llmrec.datasets.film_names import film
from llmrec.demo.untrusted import Limits, Read, Refusal, plain_name
from llmrec.errors import LLMRecError
from llmrec.passages import shortened
from llmrec.products import price_of
from llmrec.records import LISTS, NUMBERS, WHOLE_NUMBERS, flaw, picture
from llmrec.titles import fold
from llmrec.types import LANGUAGES, Item

if TYPE_CHECKING:
    from llmrec.catalog import Catalog

__all__ = [
    "FIELDS",
    "REFUSALS",
    "Built",
    "Limits",
    "Problem",
    "Read",
    "Refusal",
    "Uploads",
    "build",
    "plain_name",
    "propose",
    "sentence",
]

# Fields of Item that a column can be given to, in the order in which the screen offers them.
FIELDS = (
    "title", "id", "year", "description", "genres", "directors", "cast", "runtime", "price",
    "rating", "image", "popularity", "keywords", "countries", "languages", "original_title",
    "titles.pt", "titles.es", "descriptions.pt", "descriptions.es",
)  # fmt: skip
TOLD = 100
_PREFIX = "llmrec-visitor-"
_STALE_S = 86_400.0
_LONGEST = {"title": 300, "id": 200, "original_title": 300, "titles": 300}
_TEXT = 4_000
_NAME = 120
_NAMES = 60
_YEAR = re.compile(r"(?<!\d)(1[0-9]{3}|20[0-9]{2}|2100)(?!\d)")
_AMOUNT = re.compile(r"-?\d+(?:[.,]\d+)?")
_HOURS = re.compile(r"(?:PT)?(\d{1,3})(?:\s*h(?:\D*(\d{1,3}))?|:(\d\d):\d\d$)", re.IGNORECASE)
_MINUTES = re.compile(r"(?<![\d:.,])(\d{1,6}(?:[.,]\d+)?)\s*(?:m\b|min|['′’]|$)", re.IGNORECASE)
_SCORE = re.compile(
    r"(\d{1,3}(?:[.,]\d+)?)\s*(?:(?:/|out of|de|von|of)\s*(\d{1,3})\b.*|(%)|(?:\D?stars?|★+|estrelas|estrellas)?)",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"\s*(?:https?:|www\.|//)", re.IGNORECASE)
_PICTURE = re.compile(r"\.(?:jpe?g|png|webp|gif|avif)(?:$|\?)", re.IGNORECASE)
_CODE = re.compile(r"[\w-]*\d[\w-]*")
_LETTERS = re.compile(r"[^\W\d_]+")
_DATED_TITLE = re.compile(r".*\S\s*\((?:18|19|20)\d\d\)")
_OBJECT_NAME = re.compile(r"""['"]name['"]\s*:\s*(?:'([^']*)'|"([^"]*)")""")
_QUOTED = re.compile(r"""'([^']*)'|"([^"]*)\"""")
_NONE = frozenset(("", "\\n", "n/a", "na", "nan", "none", "null", "-", "?", "0", "0.0", "[]", "{}"))
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
_MINUTES_OF = {
    **dict.fromkeys(("ms", "msec", "milliseconds"), 1 / 60_000),
    **dict.fromkeys(("s", "sec", "secs", "seconds", "segundos"), 1 / 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours", "horas"), 60.0),
}
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_PEEK = 100  # rows whose values are looked at
_FEW = 3  # values that say little alone

REFUSALS: dict[str, dict[str, str]] = {
    "en": {
        "suffix": "“{name}” is not a kind of file that is read here: bring CSV, TSV, JSON, JSON lines or Parquet, not packed.",
        "gone": "“{name}” is no longer there or is no ordinary file: upload it again.",
        "size": "The file has {size}; up to {limit} are read here: bring a part of it.",
        "empty": "“{name}” is empty: choose another file.",
        "wrong_type": "The file ends in {suffix} but its content is of another kind: save it again as CSV, JSON or Parquet.",
        "packed": "The file ends in {suffix} but is an archive or a spreadsheet: unpack it, or save it as CSV.",
        "excel": "The file ends in {suffix} but is a spreadsheet: save it as CSV.",
        "binary": "The file holds bytes that are no text: save it as CSV in UTF-8.",
        "damaged": "The Parquet file is damaged or ends too early: save it again.",
        "heavy": "“{name}” grows too large when it is opened, or cannot be opened: bring a smaller or simpler file.",
        "slow": "Reading took more than {seconds} seconds and was stopped: bring a smaller file.",
        "unpacked": "The rows fill more than {limit}: bring fewer rows or columns.",
        "columns": "The file has {n} columns; up to {limit} are read: leave out those that are not needed.",
        "header": "The first line cannot be read as names of columns: put them there, parted by commas.",
        "no_rows": "No row could be read (the first problem is at line {line}): check the first lines of the file.",
        "json": "The file is not valid JSON: save it again, as a list of objects or with one object on each line.",
        "nested": "The JSON is nested too deeply: bring a flat list of objects.",
        "hub_name": "“{name}” is no name of a data set: write it as on the Hub, owner/name.",
        "hub_split": "“{split}” is no name of a split: write train, for example.",
        "hub": "The data set “{name}” with the split “{split}” could not be read: check that both exist and that it is public, or try later.",
        "full": "Too many visitors have a catalogue of their own now: try again in some minutes.",
        "expired": "Your catalogue was not used for long and was deleted, as others needed the room: bring it again.",
        "title_needed": "Say which column holds the title: nothing can be recommended without one.",
        "column_gone": "The file has no column “{column}”: choose one of those it has.",
        "nothing": "None of the {n} rows could be kept: check which column holds the title.",
        "failed": "The catalogue could not be built: try again, or with another file.",
        "busy": "A catalogue is being built for you: wait until it is done.",
        "not_text": "the row holds bytes that are no text",
        "csv_line": "the line cannot be read (a quote that is not closed, or a very long value)",
        "csv_width": "number of values: {n}; the first line has {header}",
        "json_line": "the line is not valid JSON",
        "json_object": "it is no JSON object",
        "no_title": "it has no title",
        "id_twice": "its id “{id}” was used before",
        "unfit": "it cannot be held by a catalogue",
        "number": "{field}: “{value}” is no number from {low} to {high}, and is left empty",
        "at_least": "{field}: “{value}” is no number of at least {low}, and is left empty",
        "image": "image: “{value}” is no https address of a picture, and is left empty",
    },
    "pt": {
        "suffix": "“{name}” não é um tipo de arquivo lido aqui: traga CSV, TSV, JSON, JSON lines ou Parquet, sem compactar.",
        "gone": "“{name}” não está mais lá ou não é um arquivo comum: envie de novo.",
        "size": "O arquivo tem {size}; aqui são lidos até {limit}: traga uma parte dele.",
        "empty": "“{name}” está vazio: escolha outro arquivo.",
        "wrong_type": "O arquivo termina em {suffix}, mas o conteúdo é de outro tipo: salve de novo como CSV, JSON ou Parquet.",
        "packed": "O arquivo termina em {suffix}, mas é um pacote ou uma planilha: descompacte, ou salve como CSV.",
        "excel": "O arquivo termina em {suffix}, mas é uma planilha: salve como CSV.",
        "binary": "O arquivo tem bytes que não são texto: salve como CSV em UTF-8.",
        "damaged": "O arquivo Parquet está danificado ou incompleto: salve de novo.",
        "heavy": "“{name}” cresce demais ao ser aberto, ou não pode ser aberto: traga um arquivo menor ou mais simples.",
        "slow": "A leitura passou de {seconds} segundos e foi interrompida: traga um arquivo menor.",
        "unpacked": "As linhas ocupam mais de {limit}: traga menos linhas ou colunas.",
        "columns": "O arquivo tem {n} colunas; são lidas até {limit}: tire as que não são necessárias.",
        "header": "A primeira linha não pode ser lida como nomes de colunas: ponha-os ali, separados por vírgulas.",
        "no_rows": "Nenhuma linha pôde ser lida (o primeiro problema está na linha {line}): confira as primeiras linhas do arquivo.",
        "json": "O arquivo não é JSON válido: salve de novo, como lista de objetos ou com um objeto por linha.",
        "nested": "O JSON tem níveis demais: traga uma lista simples de objetos.",
        "hub_name": "“{name}” não é nome de conjunto de dados: escreva como no Hub, dono/nome.",
        "hub_split": "“{split}” não é nome de uma divisão: escreva train, por exemplo.",
        "hub": "O conjunto “{name}” com a divisão “{split}” não pôde ser lido: confira se ambos existem e se é público, ou tente mais tarde.",
        "full": "Visitantes demais têm um catálogo próprio agora: tente de novo em alguns minutos.",
        "expired": "Seu catálogo ficou muito tempo sem uso e foi apagado, pois outros precisavam do espaço: traga-o de novo.",
        "title_needed": "Diga qual coluna tem o título: sem ele nada pode ser recomendado.",
        "column_gone": "O arquivo não tem a coluna “{column}”: escolha uma das que ele tem.",
        "nothing": "Nenhuma das {n} linhas pôde ser mantida: confira qual coluna tem o título.",
        "failed": "O catálogo não pôde ser construído: tente de novo, ou com outro arquivo.",
        "busy": "Um catálogo está sendo construído para você: espere terminar.",
        "not_text": "a linha tem bytes que não são texto",
        "csv_line": "a linha não pode ser lida (uma aspa sem fechar, ou um valor muito longo)",
        "csv_width": "número de valores: {n}; a primeira linha tem {header}",
        "json_line": "a linha não é JSON válido",
        "json_object": "não é um objeto JSON",
        "no_title": "não tem título",
        "id_twice": "o id “{id}” já foi usado",
        "unfit": "não cabe em um catálogo",
        "number": "{field}: “{value}” não é um número de {low} a {high}, e fica vazio",
        "at_least": "{field}: “{value}” não é um número de pelo menos {low}, e fica vazio",
        "image": "imagem: “{value}” não é um endereço https de uma imagem, e fica vazio",
    },
    "es": {
        "suffix": "“{name}” no es un tipo de archivo que se lea aquí: trae CSV, TSV, JSON, JSON lines o Parquet, sin comprimir.",
        "gone": "“{name}” ya no está o no es un archivo común: súbelo de nuevo.",
        "size": "El archivo tiene {size}; aquí se leen hasta {limit}: trae una parte.",
        "empty": "“{name}” está vacío: elige otro archivo.",
        "wrong_type": "El archivo termina en {suffix}, pero su contenido es de otro tipo: guárdalo de nuevo como CSV, JSON o Parquet.",
        "packed": "El archivo termina en {suffix}, pero es un paquete o una hoja de cálculo: descomprímelo, o guárdalo como CSV.",
        "excel": "El archivo termina en {suffix}, pero es una hoja de cálculo: guárdalo como CSV.",
        "binary": "El archivo tiene bytes que no son texto: guárdalo como CSV en UTF-8.",
        "damaged": "El archivo Parquet está dañado o incompleto: guárdalo de nuevo.",
        "heavy": "“{name}” crece demasiado al abrirlo, o no se puede abrir: trae un archivo más pequeño o más simple.",
        "slow": "La lectura pasó de {seconds} segundos y se detuvo: trae un archivo más pequeño.",
        "unpacked": "Las filas ocupan más de {limit}: trae menos filas o columnas.",
        "columns": "El archivo tiene {n} columnas; se leen hasta {limit}: quita las que no hagan falta.",
        "header": "La primera línea no se puede leer como nombres de columnas: ponlos ahí, separados por comas.",
        "no_rows": "No se pudo leer ninguna fila (el primer problema está en la línea {line}): revisa las primeras líneas del archivo.",
        "json": "El archivo no es JSON válido: guárdalo de nuevo, como lista de objetos o con un objeto por línea.",
        "nested": "El JSON tiene demasiados niveles: trae una lista simple de objetos.",
        "hub_name": "“{name}” no es nombre de un conjunto de datos: escríbelo como en el Hub, dueño/nombre.",
        "hub_split": "“{split}” no es nombre de una división: escribe train, por ejemplo.",
        "hub": "El conjunto “{name}” con la división “{split}” no se pudo leer: revisa que ambos existan y que sea público, o intenta más tarde.",
        "full": "Demasiados visitantes tienen ahora un catálogo propio: intenta de nuevo en unos minutos.",
        "expired": "Tu catálogo estuvo mucho tiempo sin uso y se borró, porque otros necesitaban el lugar: tráelo de nuevo.",
        "title_needed": "Di qué columna tiene el título: sin él no se puede recomendar nada.",
        "column_gone": "El archivo no tiene la columna “{column}”: elige una de las que tiene.",
        "nothing": "No se pudo conservar ninguna de las {n} filas: revisa qué columna tiene el título.",
        "failed": "No se pudo construir el catálogo: intenta de nuevo, o con otro archivo.",
        "busy": "Se está construyendo un catálogo para ti: espera a que termine.",
        "not_text": "la fila tiene bytes que no son texto",
        "csv_line": "la línea no se puede leer (una comilla sin cerrar, o un valor muy largo)",
        "csv_width": "número de valores: {n}; la primera línea tiene {header}",
        "json_line": "la línea no es JSON válido",
        "json_object": "no es un objeto JSON",
        "no_title": "no tiene título",
        "id_twice": "su id “{id}” ya se usó",
        "unfit": "no cabe en un catálogo",
        "number": "{field}: “{value}” no es un número de {low} a {high}, y queda vacío",
        "at_least": "{field}: “{value}” no es un número de al menos {low}, y queda vacío",
        "image": "imagen: “{value}” no es una dirección https de una imagen, y queda vacío",
    },
}  # fmt: skip


def sentence(language: str, key: str, values: Mapping[str, Any] | None = None) -> str:
    """Why a file, a row or a value is not used, in a language of the page."""
    return REFUSALS[language][key].format_map({**(values or {})})


@dataclass(frozen=True)
class Problem:
    """A row that was left out, or a value that was: its line, and the key of why."""

    line: int
    key: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Built:
    """A catalogue, and what became of the rows.

    Attributes
    ----------
    dropped: rows left out. emptied: values left out of rows that were kept.
    problems: of both, the first 100.
    """

    catalog: Catalog
    dropped: int
    emptied: int
    problems: tuple[Problem, ...]


class Uploads:
    """The folders of all visitors who have brought something, so many at the same time.

    Once there are too many, the one that was not used for longest goes, if that is ``idle``
    seconds ago: a visitor whose connection broke, or who never had a browser.
    """

    def __init__(
        self, limits: Limits | None = None, visitors: int = 20, idle: float = 600.0
    ) -> None:
        self.limits = limits or Limits()
        self._visitors, self._idle = visitors, idle
        self._lock = threading.Lock()
        self._used: dict[Path, float] = {}
        self._forget: dict[Path, Callable[[], None]] = {}
        for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):  # of killed processes
            if _age(left) > _STALE_S:
                shutil.rmtree(left, ignore_errors=True)

    def folder(self, forget: Callable[[], None]) -> Path:
        """A new folder.

        Parameters
        ----------
        forget: called when the folder is wanted for somebody else; must not hold its owner.

        Raises
        ------
        Refusal: too many are in use.
        """
        with self._lock:
            oldest = min(self._used, key=lambda f: self._used[f], default=None)
            full = len(self._used) >= self._visitors
            if full and oldest and time.monotonic() - self._used[oldest] < self._idle:
                raise Refusal("full")
            evicted = self._forget[oldest] if full and oldest else None
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
            self._used[folder] = time.monotonic()
            self._forget[folder] = forget
        if evicted is not None:
            evicted()
        return folder

    def touch(self, folder: Path) -> None:
        """Note that a folder is in use."""
        with self._lock:
            if folder in self._used:
                self._used[folder] = time.monotonic()

    def remove(self, folder: Path) -> None:
        """Remove a folder with all that is in it."""
        shutil.rmtree(folder, ignore_errors=True)
        with self._lock:
            self._used.pop(folder, None)
            self._forget.pop(folder, None)


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


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
        for _, row in itertools.islice(read, _PEEK):
            for column, value in row.items():
                if value not in (None, [], {}) and str(value).casefold() not in _NONE:
                    values[column].append(value)
    return values


def _parts(column: str) -> list[str]:
    return fold(_CAMEL.sub(" ", re.sub(r"[_.]", " ", column))).split()


def _named(column: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """The fields that a column may be called by, each with how far off the name is."""
    forms = [_parts(column), _parts(re.sub(r"[(\[{].*?[)\]}]", " ", column))]
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
        return bool(_image(value))
    if name in NUMBERS:
        if name == "popularity" and isinstance(value, str) and len(_LETTERS.findall(value)) > 2:
            return False
        number = _number_in(name, value)
        low, high = NUMBERS[name]
        most = {"popularity": math.inf, "runtime": math.inf, "rating": 100.0}.get(name, high)
        return number is not None and (low if name == "year" else 0.0) <= number <= most
    if isinstance(value, (list, dict)):
        if name == "description":
            return isinstance(value, list) or any(k in value for k in LANGUAGES)
        return name in LISTS and any(map(_is_text, _names(value)))
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
        return all(_PICTURE.search(_image(v)) for v in values)
    short = all(_is_text(v) and len(v) <= _LONGEST["title"] for v in values)
    coded = sum(bool(_CODE.fullmatch(v)) for v in values) if short else 0
    return short and 2 * coded < len(values) and 10 * len({*values}) >= 9 * len(values)


def build(
    read: Read,
    mapping: Mapping[str, str],
    folder: Path,
    progress: Callable[[int], None] = lambda done: None,
) -> Built:
    """Build a catalogue from rows that were read.

    Parameters
    ----------
    mapping: from fields (`FIELDS`) to columns; fields that are not named stay empty.
    folder: the catalogue goes into a new folder there.
    progress: called with the number of rows so far; what it raises ends the build.

    Raises
    ------
    Refusal: no column for the title, one that is not there, or no row that could be kept.
    """
    from llmrec.catalog import Catalog

    mapping = {name: column for name, column in mapping.items() if column and name in FIELDS}
    if "title" not in mapping:
        raise Refusal("title_needed")
    for column in mapping.values():
        if column not in read.columns:
            raise Refusal("column_gone", column=plain_name(column))
    rows = _Rows(read, mapping)

    def items() -> Iterator[Item]:
        for done, item in enumerate(rows.items()):
            if done % 256 == 0:
                progress(rows.done)
            yield item

    to = Path(tempfile.mkdtemp(prefix="catalogue-", dir=folder))
    try:
        catalog = Catalog.from_items(items(), to / "items")
    except LLMRecError:
        shutil.rmtree(to, ignore_errors=True)
        if rows.kept:
            raise
        raise Refusal("nothing", n=read.rows) from None
    except BaseException:
        shutil.rmtree(to, ignore_errors=True)
        raise
    first = tuple(Problem(*p) for p in read.problems)
    problems = sorted((*first, *rows.problems), key=lambda p: p.line)[:TOLD]
    return Built(catalog, read.dropped + rows.dropped, rows.emptied, tuple(problems))


class _Rows:
    """Rows as Items, with what was wrong counted."""

    def __init__(self, read: Read, mapping: Mapping[str, str]) -> None:
        self._read, self._mapping = read, mapping
        self._seen: set[str] = set()
        self._most = self._largest("popularity")
        best = self._largest("rating")  # out of five, of ten or of a hundred
        self._stars = 2.0 if 0 < best <= 5 else 0.1 if best > 10 else 1.0
        unit = _parts(mapping.get("runtime", ""))[-1:]
        self._minutes = _MINUTES_OF.get(unit[0], 1.0) if unit else 1.0
        self._dated = "year" not in mapping and self._are_dated(mapping["title"])
        self.done = self.kept = self.dropped = self.emptied = 0
        self.problems: list[Problem] = []
        self._told: Counter[str] = Counter()

    def items(self) -> Iterator[Item]:
        for line, row in self._read:
            self.done += 1
            item = self._item(line, row)
            if item is None:
                continue
            if item.id in self._seen:
                self._drop(line, "id_twice", id=item.id[:60])
            elif flaw(item) is not None:
                self._drop(line, "unfit")
            else:
                self._seen.add(item.id)
                self.kept += 1
                yield item

    def _drop(self, line: int, key: str, **values: Any) -> None:
        self.dropped += 1
        self._tell(Problem(line, key, values))

    def _tell(self, problem: Problem) -> None:
        self._told[problem.key] += 1
        if self._told[problem.key] <= TOLD // 4:  # each kind of problem gets its share
            self.problems.append(problem)

    def _item(self, line: int, row: Mapping[str, Any]) -> Item | None:
        values: dict[str, Any] = {"id": str(self.done), "titles": {}, "descriptions": {}}
        for name, column in self._mapping.items():
            value = row.get(column)
            if value is None or value == "":
                continue
            where, _, language = name.partition(".")
            if language:
                if text := _words(value, where):
                    values[where][language] = (text,) if where == "titles" else text
            elif name in LISTS:
                values[name] = _names(value)
            elif name in NUMBERS:
                values[name] = self._number(line, name, value)
            elif name == "image":
                values[name] = self._address(line, value)
            elif where == "description" and isinstance(value, dict):
                values["descriptions"] |= {
                    k: _words(v, name) for k, v in value.items() if k in LANGUAGES and v
                }
            elif text := _words(value, name):
                values[name] = text
        if self._dated and (dated := film(values.get("title"))) and dated[1]:
            values["title"], values["year"] = dated
        if not fold(values.get("title", "")):
            self._drop(line, "no_title")
            return None
        if values.get("popularity") is None:
            values.pop("popularity", None)
        return Item(**values)

    def _number(self, line: int, name: str, value: Any) -> float | int | None:
        number = _number_in(name, value)
        if number is not None and name == "popularity" and self._most > 1:
            number = math.log1p(max(0.0, number)) / math.log1p(self._most)
        elif number is not None and name == "rating":
            number = round(number * self._stars, 2)
        elif number is not None and name == "runtime" and _is_bare(value):
            number = round(number * self._minutes)
        low, high = NUMBERS[name]
        if number is not None and low <= number <= high:
            return int(number) if name in WHOLE_NUMBERS else float(number)
        if str(value).strip().casefold() not in _NONE:
            self.emptied += 1
            said = {"field": name, "value": _brief(value), "low": low, "high": high}
            self._tell(Problem(line, "number" if high < math.inf else "at_least", said))
        return None

    def _address(self, line: int, value: Any) -> str:
        address = _image(value)
        if not address:
            self.emptied += 1
            self._tell(Problem(line, "image", {"value": _brief(value)}))
        return address

    def _are_dated(self, column: str) -> bool:
        """Whether most titles end in their year: "Heat (1995)"."""
        titles = [str(row.get(column) or "") for _, row in itertools.islice(self._read, _PEEK)]
        return 2 * sum(bool(_DATED_TITLE.fullmatch(t.strip())) for t in titles) > len(titles)

    def _largest(self, name: str) -> float:
        column = self._mapping.get(name)
        if column is None:
            return 0.0
        numbers = (_number_in(name, row.get(column)) for _, row in self._read)
        return max((n for n in numbers if n is not None), default=0.0)


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:39] + "…"


def _number_in(name: str, value: Any) -> float | None:
    """The number that a value holds: "1995-06-02" is a year, "2h 10min" minutes, "R$ 9,90" a price."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (int, float)):
        return float(value)
    text = str(value).strip()[:60]
    if name == "year":
        found = _YEAR.search(text)
        return float(found.group()) if found else None
    if name == "price":
        return price_of(text)
    if name == "runtime":
        if hours := _HOURS.match(text):
            return 60.0 * int(hours[1]) + int(hours[2] or hours[3] or 0)
        minutes = _MINUTES.search(text)
        return float(minutes[1].replace(",", ".")) if minutes else None
    if name == "rating":
        score = _SCORE.fullmatch(text)
        of = float(score[2] or (100 if score[3] else 10)) if score else 0.0
        return float(score[1].replace(",", ".")) * 10 / of if score and of else None
    found = _AMOUNT.search(text)
    if found is None:
        return None
    digits = found.group()
    whole = re.fullmatch(r"-?\d{1,3}(?:,\d{3})+", text)
    return float(text.replace(",", "") if whole else digits.replace(",", "."))


def _words(value: Any, name: str) -> str:
    """A value as plain words, without markup."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, list):
        value = " ".join(str(v) for v in value if isinstance(v, (str, int, float)))
    if isinstance(value, (dict, bool)):
        return ""
    text = str(value)
    if name == "id":  # compared, never read: it stays as it is but for what cannot be seen
        return "".join(c for c in text if c.isprintable()).strip()[: _LONGEST["id"]]
    return shortened(clean(text), _LONGEST.get(name, _TEXT))


def _names(value: Any) -> tuple[str, ...]:
    """A list of names, however it is written: a list, objects with a name, "a; b", "a|b", "a, b"."""
    if isinstance(value, str) and value[:1] in "[{":
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):  # as Python writes lists, perhaps
            said = _OBJECT_NAME.findall(value) or _QUOTED.findall(value)
            value = [a or b for a, b in said] or value.strip("[]")
    if isinstance(value, str):
        mark = next((m for m in (";", "|", " > ", ",") if m in value), ";")
        value = value.split(mark)
    if isinstance(value, dict):
        value = [value] if "name" in value else list(value.values())
    if not isinstance(value, list):
        value = [value]
    flat = [v for own in value for v in (own if isinstance(own, list) else [own])]
    texts = [v.get("name", "") if isinstance(v, dict) else v for v in flat]
    names = (clean(v)[:_NAME] for v in texts if isinstance(v, str))
    return tuple(dict.fromkeys(n for n in names if fold(n)))[:_NAMES]


def _image(value: Any) -> str:
    """The first usable address of a picture in a value; empty where it has none."""
    if isinstance(value, str) and value[:1] in "[{":
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):  # as Python writes lists, perhaps
            value = [a or b for a, b in _QUOTED.findall(value)]
    if isinstance(value, dict):  # of several sizes the large one
        value = [value.get("large"), *value.values()]
    if isinstance(value, str):
        value = [picture(part) for part in re.split(r"[\s|;]+|,(?=https?:)", value.strip())]
        return next(filter(None, value), "")
    return next(filter(None, map(_image, value[:20])), "") if isinstance(value, list) else ""


def _is_bare(value: Any) -> bool:
    return not isinstance(value, str) or bool(re.fullmatch(r"\s*\d+(?:[.,]\d+)?\s*", value))
