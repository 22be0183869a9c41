from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from llmrec.catalog import Catalog
from llmrec.errors import CatalogError, InputError
from llmrec.products import price_of, sure_language

LONG = "It keeps drinks cold for a whole day, and hot for half of it. "
BOTTLE = {
    "uid": "B01",
    "title": "Garrafa &amp;amp; Copo <b>500 ml</b>",
    "content": "<p>Uma garrafa de a&ccedil;o para a sua fam\u00edlia.</p><br/>Sem BPA\x00.",
    "price": "R$ 1.299,90",
    "category": ["Casa", "Cozinha"],
}
PRODUCTS: list[dict[str, Any]] = [
    BOTTLE,
    {"uid": "B02", "title": "Steel Bottle", "content": LONG * 100, "price": "$12.99"},
    {"uid": "B03", "title": "steel bottle!", "content": LONG * 100, "price": 5},
    {"uid": "B04", "title": "Flasche", "content": "Die Flasche ist aus Stahl und hält lange."},
    {"uid": "B05", "title": "Botella", "content": "Una botella de acero para llevar al trabajo."},
    {"uid": "B06", "title": "Only a title", "content": "", "price": "ask us"},
]


def lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_a_file_of_titles_and_contents(tmp_path: Path) -> None:
    file = tmp_path / "lbl.json.gz"
    with gzip.open(file, "wt", encoding="utf-8") as out:
        out.write(lines(PRODUCTS) + "broken\n" + lines([{"uid": "B08", "title": "<br>"}]))
    catalog = Catalog.from_products(file, tmp_path / "made", progress=False)
    assert list(catalog.ids) == ["B01", "B02", "B04", "B05", "B06"]
    garrafa, bottle, flasche, botella, only = catalog
    assert garrafa.title == "Garrafa & Copo 500 ml"
    assert garrafa.descriptions == {"pt": "Uma garrafa de aço para a sua família. Sem BPA."}
    assert garrafa.price == 1299.9
    assert garrafa.genres == ("Casa", "Cozinha")
    assert bottle.descriptions["en"].endswith("half of it.")
    assert 3_900 < len(bottle.descriptions["en"]) <= 4_000
    assert botella.descriptions.keys() == {"es"}
    assert (flasche.descriptions, flasche.description[:11]) == ({}, "Die Flasche")
    assert (only.description, only.price) == ("", None)
    assert [(p.line, p.reason) for p in catalog.report.problems][::2] == [
        (3, "a product with its title and text came before"),
        (8, "it has no title"),
    ]
    counts = {
        "duplicates": 1,
        "shortened": 1,
        "prices not read": 1,
        "language pt": 1,
        "language en": 1,
        "language es": 1,
        "language other or not sure": 1,
    }
    assert catalog.report.counts == counts
    assert Catalog.open(tmp_path / "made").report.counts == counts
    assert [hit.item.id for hit in catalog.search("garrafa aco")] == ["B01"]


@pytest.mark.parametrize("kind", [".csv", ".tsv.gz", ".parquet"])
def test_columns_are_guessed_in_tables(tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"shop{kind}"
    table = [("SKU", "Product_Name", "Descrição", "Preço"), ("7", "Mug", "Uma caneca.", "9,50")]
    if kind == ".parquet":
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.table({k: [v] for k, v in zip(*table, strict=True)}), file)
    else:
        comma = "\t" if "tsv" in kind else ";"
        text = "\n".join(comma.join(row) for row in table).replace(";", ",").replace("9,5", "9.5")
        file.write_bytes(gzip.compress(text.encode()) if "gz" in kind else text.encode())
    (mug,) = Catalog.from_products(file, progress=False)
    assert (mug.id, mug.title, mug.description, mug.price) == ("7", "Mug", "Uma caneca.", 9.5)


@pytest.mark.parametrize(
    "column",
    ["image", "image_url", "imageURL", "imageURLHighRes", "imUrl", "images", "poster", "poster_url",
     "poster_path", "picture", "thumbnail", "cover", "imagem"],
)  # fmt: skip
def test_the_column_of_pictures_is_guessed(tmp_path: Path, column: str) -> None:
    file = tmp_path / "shop.jsonl"
    there = "https://img.example.org/a.jpg"
    row = {"asin": "B1", "title": "Mug", "description": ["A mug."], column: [there]}
    file.write_text(lines([row, {"asin": "B2", "title": "Cup", column: "a.jpg"}]))
    catalog = Catalog.from_products(file, progress=False)
    assert [i.image for i in catalog] == [there, ""]
    assert catalog.report.counts["pictures left out"] == 1


def test_a_mapping_overrides_what_is_guessed(tmp_path: Path) -> None:
    file = tmp_path / "shop.jsonl"
    row = {"title": "no", "label": "Mug", "text": "Mug.", "cost": 3, "was": "4", "l": "pt-BR"}
    file.write_text(lines([row]))
    mapping = {"title": "label", "price": "was", "language": "l"}
    (mug,) = Catalog.from_products(file, mapping=mapping, progress=False)
    assert (mug.id, mug.title, mug.price, dict(mug.descriptions)) == ("1", "Mug", 4, {"pt": "Mug."})
    with pytest.raises(InputError, match="mapping has 'colour', which is no field of Item"):
        Catalog.from_products(file, mapping={"colour": "text"}, progress=False)
    with pytest.raises(CatalogError, match="has no column 'lable', it has 'title', 'label'"):
        Catalog.from_products(file, mapping={"title": "lable"}, progress=False)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    nameless = tmp_path / "a.csv"
    nameless.write_text("x,y\n1,2\n")
    with pytest.raises(CatalogError, match=r"has no column 'title', it has 'x', 'y': say with"):
        Catalog.from_products(nameless, progress=False)
    with pytest.raises(CatalogError, match=r"the ending '.xlsx': use .json or .jsonl"):
        Catalog.from_products(tmp_path / "a.xlsx")
    torn = tmp_path / "b.json.gz"
    torn.write_bytes(gzip.compress(lines(PRODUCTS).encode())[:-20])
    with pytest.raises(CatalogError, match=r"b.json.gz cannot be read: "):
        Catalog.from_products(torn, progress=False)
    broken = tmp_path / "c.json"
    broken.write_text("[\n")
    with pytest.raises(CatalogError, match=r"the first at line 1 .it is not JSON"):
        Catalog.from_products(broken, progress=False)


def test_lists_of_other_levels_are_flattened(tmp_path: Path) -> None:
    file = tmp_path / "meta.jsonl"
    row = {
        "title": "Mug",
        "description": ["A mug", "of clay &amp; glass."],
        "categories": [["Home", "Kitchen"], ["Mugs"]],
    }
    paths = {"title": "Cup", "description": [], "categories": "Home &gt; Kitchen"}
    file.write_text(lines([row, paths]))
    mug, cup = Catalog.from_products(file, progress=False)
    assert mug.description_in("en") == "A mug of clay & glass."
    assert (mug.genres, cup.genres) == (("Home", "Kitchen", "Mugs"), ("Home", "Kitchen"))


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("R$ 1.299,90", 1299.9),
        ("$12.99", 12.99),
        ("12,50 €", 12.5),
        ("1,299.90", 1299.9),
        ("US$ 1.299", 1299.0),
        ("1,299", 1299.0),
        ("1.299", 1.299),
        ("1.299.000", 1_299_000.0),
        ("Rs. 1,29,900.50", 129_900.5),
        ("1 299,90 €", 1299.9),
        ("$10.99 - $15.99", 10.99),
        ("$0.999", 0.999),
        ("-3", None),
        ("free", None),
        ("", None),
    ],
)
def test_prices_are_read(text: str, price: float | None) -> None:
    assert price_of(text) == price


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("A steel bottle that keeps your drinks cold", "en"),
        ("Uma garrafa de aço para levar ao trabalho", "pt"),
        ("Una botella de acero para llevar al trabajo", "es"),
        ("Eine Flasche aus Stahl für das Büro und die Reise", ""),
        ("Une bouteille en acier pour garder les boissons au frais", ""),
        ("Bottiglia in acciaio inox con coperchio per bevande", ""),
        ("500 ml inox", ""),
    ],
)
def test_only_a_sure_language_is_told(text: str, language: str) -> None:
    assert sure_language(text) == language


def test_the_embedded_descriptions_are_told_apart() -> None:
    told = [
        (language, sure_language(text))
        for item in Catalog.embedded()
        for language, text in item.descriptions.items()
    ]
    assert sum(a == b for a, b in told) > 0.98 * len(told)
    assert sum(b not in (a, "") for a, b in told) < 0.005 * len(told)


@pytest.mark.slow
def test_the_guide_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guide = Path(__file__).parent.parent / "docs" / "products.md"
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", guide.read_text("utf-8"), re.M | re.S)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for (language, text), (_, said) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if language == "csv":
            Path("shop.csv").write_text(text, encoding="utf-8")
        elif language == "python":
            exec(text, names)
            printed = capsys.readouterr().out.splitlines()
            for line, wanted in zip(printed, said.splitlines(), strict=True):
                parts = map(re.escape, wanted.split("..., "))
                assert re.fullmatch(".*".join(parts), line)
