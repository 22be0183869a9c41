"""Products hides what files of shop products need until they are Items: columns, markup, prices.

Such files name their columns as they like, hold HTML and entities, texts of any length and
language, prices as people write them, and the same product many times.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from llmrec.cleaning import clean
from llmrec.lexicon import guess_language
from llmrec.passages import shortened
from llmrec.records import LISTS, RawRow, Row, columns_of, parsed, require
from llmrec.titles import fold
from llmrec.types import LANGUAGES

__all__ = ["Products", "price_of", "sure_language"]

_LANGUAGE = "language"
_PEEK = 50
_LONGEST = 4_000  # characters of a text
_LONGEST_TITLE = 300
_GUESSED = {
    "id": ("id", "uid", "asin", "parent asin", "sku", "product id", "item id", "codigo", "ean"),
    "title": ("title", "name", "product title", "product name", "item name", "product",
              "titulo", "nome", "nombre", "produto", "producto"),
    "description": ("content", "description", "text", "product description", "body", "descricao",
                    "descripcion", "conteudo", "contenido", "texto", "details", "about"),
    "price": ("price", "cost", "sale price", "list price", "preco", "precio", "valor"),
    "genres": ("genres", "categories", "category", "main category", "categoria", "categorias"),
    "keywords": ("keywords", "tags"),
    _LANGUAGE: ("language", "lang", "locale", "idioma"),
    "image": ("image", "image url", "imageurl", "imageurlhighres", "images", "imurl",
              "main image", "large", "picture", "picture url", "poster", "poster url",
              "poster path", "thumbnail", "thumbnail url", "cover", "cover url", "photo", "imagem",
              "imagen", "foto"),
}  # fmt: skip
_AMOUNT = re.compile(r"\d+(?:[.,'’ \u00a0\u202f]\d+)*")
_PLAIN = re.compile(r"\d+(?:\.\d+)?\Z")
_WORD = re.compile(r"[^\W\d_]+")
# Small words of other languages that English, Portuguese and Spanish do not have.
_FOREIGN = frozenset(
    """le des et est dans pour avec aux cette vous votre nous il gli di della dei delle nel nella
    sono anche dal alla der das und ist mit für auf von zu dem ein eine nicht auch sich oder wie
    het een voor van och att för som med une du per che più zum zur bei aus""".split()
)


class Products:
    """The rows of one file, as Items.

    Attributes
    ----------
    counts: what was met on the way, by name: "duplicates", "shortened", "prices not read", and
        the languages of the texts.

    Raises
    ------
    InputError: ``mapping`` names something that is no field of Item, nor "language".
    """

    def __init__(self, path: Path, mapping: Mapping[str, str] | None) -> None:
        self._path = path
        self._mapping = dict(mapping or {})
        self._fields = columns_of({k: v for k, v in self._mapping.items() if k != _LANGUAGE})
        self._columns: dict[str, str] = {}
        self._seen: set[int] = set()
        self.counts: Counter[str] = Counter()

    def choose(self, have: Sequence[str]) -> list[str]:
        """Settle which columns are read, of those the file has.

        Raises
        ------
        CatalogError: a mapped column is not there, or none looks like a title.
        """
        by_key = {fold(column): column for column in reversed(have)}
        chosen = {name: column for name, column in self._fields.items() if column in have}
        for name, guesses in _GUESSED.items():
            guessed = next((by_key[g] for g in guesses if g in by_key), None)
            if guessed and name not in self._mapping:
                chosen[name] = guessed
        chosen |= self._mapping
        require(self._path, {"title": chosen.get("title", "title"), **self._mapping}, have)
        self._columns = chosen
        return list(dict.fromkeys(chosen.values()))

    def items(self, rows: Iterable[RawRow]) -> Iterator[Row]:
        """Each row as an Item, or the reason why it is left out."""
        rows = iter(rows)
        first = list(islice(rows, _PEEK))
        if not self._columns:  # of JSON, each row has its own columns
            records = [record for _, record in first if not isinstance(record, str)]
            if records:
                self.choose(list(dict.fromkeys(c for record in records for c in record)))
        return parsed(self._cleaned(chain(first, rows)), columns_of(None))

    def _cleaned(self, rows: Iterable[RawRow]) -> Iterator[RawRow]:
        for line, record in rows:
            if isinstance(record, str):
                yield line, record
                continue
            values = {name: record.get(column) for name, column in self._columns.items()}
            values = {name: _plain(name, value) for name, value in values.items()}
            key = hash((fold(str(values.get("title") or line)), _told(values)))
            if key in self._seen:
                self.counts["duplicates"] += 1
                yield line, "a product with its title and text came before"
            else:
                self._seen.add(key)
                self._mend(values)
                yield line, values

    def _mend(self, values: dict[str, Any]) -> None:
        """Prices become numbers, long texts shorter, and the text goes to its language."""
        if isinstance(values.get("title"), str):
            values["title"] = shortened(values["title"], _LONGEST_TITLE)
        if isinstance(price := values.get("price"), str) and price:
            values["price"] = price_of(price)
            if values["price"] is None:
                self.counts["prices not read"] += 1
        said, text = values.pop(_LANGUAGE, None), values.get("description")
        if not isinstance(text, str) or not text or not values.get("title"):
            return
        values["description"] = brief = shortened(text, _LONGEST)
        if brief != text:
            self.counts["shortened"] += 1
        language = str(said).casefold()[:2] if said else sure_language(brief)
        if language in LANGUAGES:
            values[f"descriptions.{language}"] = values.pop("description")
        self.counts[f"language {language if language in LANGUAGES else 'other or not sure'}"] += 1


def _plain(name: str, value: Any) -> Any:
    """A value without markup; of lists, the texts of all levels."""
    if name == "image":
        return value
    if isinstance(value, (list, tuple)):
        flat = [t for v in value for t in (v if isinstance(v, (list, tuple)) else [v])]
        texts = [clean(v) if isinstance(v, str) else v for v in flat]
        whole = all(isinstance(v, str) for v in texts) and name.startswith("description")
        return " ".join(texts) if whole else texts
    if not isinstance(value, str):
        return value
    return clean(value).replace(" > ", ";") if name in LISTS else clean(value)


def _told(values: Mapping[str, Any]) -> str:
    return "".join(str(values[name]) for name in sorted(values) if name.startswith("description"))


def price_of(text: str) -> float | None:
    """The first amount in a text such as "R$ 1.299,90", "$12.99" or "12,50 €"; None without one.

    Of points and commas the last one parts the decimals, unless it stands alone with three digits
    behind it or occurs more than once: then it parts thousands. "1.299" without anything else is
    a number as machines write it.
    """
    if _PLAIN.match(text.strip()):
        return float(text)
    found = _AMOUNT.search(text)
    if not found or text[: found.start()].rstrip().endswith(("-", "−")):
        return None
    amount = re.sub(r"['’\s]", "", found.group())
    mark = max(".,", key=amount.rfind)
    whole, _, rest = amount.rpartition(mark)
    alone = not re.search("[.,]", whole)
    if not whole or mark in whole or (alone and len(rest) == 3 and whole != "0"):
        return float(re.sub("[.,]", "", amount))
    return float(re.sub("[.,]", "", whole) + "." + rest)


def sure_language(text: str) -> str:
    """``en``, ``pt`` or ``es`` if a text is clearly in it, else empty."""
    words = _WORD.findall(text[:2_000].lower())
    if len(words) < 4 or 10 * sum(w in _FOREIGN for w in words) >= len(words):
        return ""
    guesses = {guess_language(text[:2_000], default) for default in LANGUAGES}
    return guesses.pop() if len(guesses) == 1 else ""
