"""Make up products that read like those of a shop, as JSON lines, for the other benchmarks.

    python benchmarks/products.py
    python benchmarks/products.py --rows 100000 --seed 1 --out products.jsonl

A title is a brand, a kind of thing and its features; a description is drawn by Zipf's law from the
tens of thousands of words of its language, with the words of its category and of its title more
often. Half of the descriptions are under 60 words and a few are over a thousand. Of a hundred
products seventy are in English, some have markup or entities, some the text of another product,
and twelve no price.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

LANGUAGES = ("en", "pt", "es")
FUNCTION_WORDS = {
    "en": "the and of a to in is for with your it on this you that are from as or by can be an "
    "at will have not all more has one our these when any each which",
    "pt": "de a o e que do da em um para com não uma os no se na por mais as dos como ao das seu "
    "sua ou quando muito nos já também pelo pela até isso",
    "es": "de la que el en y a los se del las un por con una su para es al lo como más o este sí "
    "sus le ya cuando muy sin sobre también hasta hay donde",
}
KINDS = {
    "Kitchen": (
        "frying pan,coffee maker,knife set,cutting board,kettle,lunch box",
        "frigideira,cafeteira,jogo de facas,tábua de corte,chaleira,marmita",
        "sartén,cafetera,juego de cuchillos,tabla de cortar,hervidor,fiambrera",
    ),
    "Electronics": (
        "wireless headphones,usb cable,phone case,bluetooth speaker,keyboard,charger",
        "fones sem fio,cabo usb,capa de celular,caixa de som,teclado,carregador",
        "auriculares inalámbricos,cable usb,funda de móvil,altavoz,teclado,cargador",
    ),
    "Clothing": (
        "t-shirt,rain jacket,running shoes,wool socks,leather belt,hat",
        "camiseta,capa de chuva,tênis de corrida,meias de lã,cinto de couro,chapéu",
        "camiseta,chaqueta impermeable,zapatillas,calcetines de lana,cinturón,sombrero",
    ),
    "Books": (
        "novel,cookbook,travel guide,dictionary,picture book,biography",
        "romance,livro de receitas,guia de viagem,dicionário,livro ilustrado,biografia",
        "novela,libro de cocina,guía de viaje,diccionario,libro ilustrado,biografía",
    ),
    "Toys": (
        "building blocks,board game,doll house,puzzle,plush bear,toy train",
        "blocos de montar,jogo de tabuleiro,casa de bonecas,quebra-cabeça,urso,trem",
        "bloques,juego de mesa,casa de muñecas,rompecabezas,oso de peluche,tren",
    ),
    "Garden": (
        "garden hose,pruning shears,flower pot,lawn mower,bird feeder,shovel",
        "mangueira,tesoura de poda,vaso de flores,cortador de grama,comedouro,pá",
        "manguera,tijeras de podar,maceta,cortacésped,comedero,pala",
    ),
    "Sports": (
        "yoga mat,tennis racket,water bottle,dumbbells,bicycle helmet,tent",
        "tapete de ioga,raquete de tênis,garrafa de água,halteres,capacete,barraca",
        "esterilla de yoga,raqueta de tenis,botella de agua,mancuernas,casco,tienda",
    ),
    "Beauty": (
        "face cream,shampoo,lipstick,hair dryer,perfume,nail file",
        "creme facial,xampu,batom,secador de cabelo,perfume,lixa de unhas",
        "crema facial,champú,pintalabios,secador de pelo,perfume,lima de uñas",
    ),
    "Tools": (
        "cordless drill,hammer,screwdriver set,tape measure,toolbox,work gloves",
        "furadeira,martelo,jogo de chaves,fita métrica,caixa de ferramentas,luvas",
        "taladro,martillo,juego de destornilladores,cinta métrica,caja,guantes",
    ),
    "Pets": (
        "dog bed,cat litter box,leash,fish tank,pet brush,chew toy",
        "cama para cães,caixa de areia,coleira,aquário,escova,mordedor",
        "cama para perros,arenero,correa,acuario,cepillo,mordedor",
    ),
}
FEATURES = {
    "en": "black,blue,red,white,stainless steel,cotton,wooden,waterproof,foldable,large,small,"
    "rechargeable,for kids,professional,lightweight,vintage",
    "pt": "preto,azul,vermelho,branco,aço inoxidável,algodão,de madeira,à prova d'água,dobrável,"
    "grande,pequeno,recarregável,infantil,profissional,leve,clássico",
    "es": "negro,azul,rojo,blanco,acero inoxidable,algodón,de madera,impermeable,plegable,grande,"
    "pequeño,recargable,infantil,profesional,ligero,clásico",
}
SYLLABLES = {
    "en": "ba ber con dle er fi gra hu ing ka lo mer nor ow pra qui ris sto ter un ver wil yo zen",
    "pt": "ba ca ção dei fa gri lha me nho ó par que ra são ta u ver xi zé lu mo bri des tor",
    "es": "ba ca ción de fue gra je lla me ño or par que rra sa ta u ver ye zo lu mi bre des",
}
MARKUP = (
    "<b>{}</b>",
    "<br />{}",
    "<ul><li>{}</li></ul>",
    "&lt;i&gt;{}&lt;/i&gt;",
    "&quot;{}&quot;",
    "{}&nbsp;&#8212;",
)
WORDS = 40_000  # of each language, beside its function words
TOPIC_WORDS = 500  # of each category
BRANDS = 20_000
MEDIAN_WORDS = 60
_BLOCK = 4_096  # rows made from one seed
_SHARES = (0.70, 0.85)  # where English ends, where Portuguese ends
_FROM_TOPIC, _FROM_TITLE = 0.22, 0.05  # of the words of a description
_MARKED, _REPEATED, _UNPRICED = 0.25, 0.03, 0.12  # of the products

Words = npt.NDArray[np.object_]
Floats = npt.NDArray[np.float64]


def zipf(n: int) -> Floats:
    """The cumulative shares of ``n`` words by Zipf's law, with Mandelbrot's correction."""
    total = np.cumsum(1 / (np.arange(n) + 2.7))
    return np.asarray(total / total[-1])


def made_up_words(language: str, n: int, rng: np.random.Generator) -> list[str]:
    """``n`` different words of two to four syllables of a language."""
    syllables = SYLLABLES[language].split()
    words: dict[str, None] = {}
    while len(words) < n:
        lengths = rng.integers(2, 5, n)
        drawn = rng.integers(0, len(syllables), (n, 4))
        for row, length in zip(drawn.tolist(), lengths.tolist(), strict=True):
            words["".join(syllables[at] for at in row[:length])] = None
    return list(words)[:n]


class _Tongue:
    """The words of one language: common ones first, those of each category, kinds, features."""

    def __init__(self, language: str, rng: np.random.Generator) -> None:
        at = LANGUAGES.index(language)
        made = made_up_words(language, WORDS, rng)
        rng.shuffle(made)
        self.words: Words = np.array(FUNCTION_WORDS[language].split() + made, dtype=object)
        self.common = zipf(len(self.words))
        self.topics: list[Words] = [
            np.array(rng.choice(made[: WORDS // 2], TOPIC_WORDS, replace=False), dtype=object)
            for _ in KINDS
        ]
        self.kinds = [kinds[at].split(",") for kinds in KINDS.values()]
        self.features = FEATURES[language].split(",")


class _Maker:
    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.seed = seed
        self.tongues = {language: _Tongue(language, rng) for language in LANGUAGES}
        self.brands = [word.capitalize() for word in made_up_words("en", BRANDS, rng)]
        self.topical, self.known = zipf(TOPIC_WORDS), zipf(BRANDS)

    def block(self, number: int) -> Iterator[dict[str, Any]]:
        """The ``_BLOCK`` products of a number, the same whatever was made before."""
        rng = np.random.default_rng((self.seed, number))
        lengths = np.clip(rng.lognormal(math.log(MEDIAN_WORDS), 0.85, _BLOCK), 4, 4_000).astype(int)
        texts: list[tuple[str, str, str, str]] = []
        for i, length in enumerate(lengths.tolist()):
            if texts and rng.random() < _REPEATED:
                texts.append(texts[rng.integers(len(texts))])
            else:
                texts.append(self._text(rng, length))
            title, content, category, language = texts[-1]
            price = round(min(rng.lognormal(3.1, 1.0), 5_000) + 0.5) - 0.01
            yield {
                "id": f"{number * _BLOCK + i:010X}",
                "title": title,
                "content": content,
                "category": category,
                "price": None if rng.random() < _UNPRICED else price,
                "language": language,
            }

    def _text(self, rng: np.random.Generator, length: int) -> tuple[str, str, str, str]:
        """Title, content, category and language of one product."""
        share = rng.random()
        language = LANGUAGES[sum(share >= bound for bound in _SHARES)]
        tongue = self.tongues[language]
        category = int(rng.integers(len(KINDS)))
        kinds = tongue.kinds[category]
        n = rng.integers(1, 4)
        features = [tongue.features[at] for at in rng.integers(0, len(tongue.features), n)]
        topic = tongue.topics[category]
        name = [
            self.brands[int(np.searchsorted(self.known, rng.random()))],
            kinds[rng.integers(len(kinds))].title(),
            *dict.fromkeys(features),
            *topic[np.searchsorted(self.topical, rng.random(rng.integers(1, 4)))],
            f"{chr(65 + int(rng.integers(26)))}{int(rng.integers(10, 9_999))}",
        ]
        words = tongue.words[np.searchsorted(tongue.common, rng.random(length))]
        kind_of = rng.random(length)
        topical = np.flatnonzero(kind_of < _FROM_TOPIC)
        words[topical] = topic[np.searchsorted(self.topical, rng.random(len(topical)))]
        own = np.array(" ".join(name[:-1]).split(), dtype=object)
        titled = np.flatnonzero(kind_of > 1 - _FROM_TITLE)
        words[titled] = own[rng.integers(0, len(own), len(titled))]
        sentences = _sentences(words.tolist(), rng)
        title = " ".join(name)
        if rng.random() < _MARKED:
            for at in rng.integers(0, len(sentences), 1 + len(sentences) // 4):
                sentences[at] = MARKUP[rng.integers(len(MARKUP))].format(sentences[at])
            title = title.replace(" ", " &amp; ", 1) if rng.random() < 0.2 else title
        return title, " ".join(sentences), tuple(KINDS)[category], language


def _sentences(words: list[str], rng: np.random.Generator) -> list[str]:
    out, start = [], 0
    while start < len(words):
        end = start + int(rng.integers(6, 22))
        out.append(" ".join(words[start:end]).capitalize() + ".")
        start = end
    return out


@lru_cache(maxsize=2)
def _maker(seed: int) -> _Maker:
    return _Maker(seed)


def made_up_products(rows: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """``rows`` products, the same for the same seed; fewer rows are the beginning of more.

    Each has ``id``, ``title``, ``content`` (both may hold HTML), ``category``, ``price`` (None
    where it is not known) and ``language``.
    """
    maker = _maker(seed)
    for number in range(-(-rows // _BLOCK)):
        for i, product in enumerate(maker.block(number)):
            if number * _BLOCK + i == rows:
                return
            yield product


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=3, help="products to make")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="the file to write (default: standard output)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Write the products, whole or not at all."""
    options = make_parser().parse_args(argv)
    lines = (
        json.dumps(product, ensure_ascii=False) + "\n"
        for product in made_up_products(options.rows, options.seed)
    )
    if options.out is None:
        sys.stdout.writelines(lines)
        return 0
    part = options.out.with_name(options.out.name + ".part")
    with part.open("w", encoding="utf-8") as out:
        out.writelines(lines)
    part.replace(options.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
