from __future__ import annotations

import re

import pytest
import shop
from hypothesis import given
from hypothesis import strategies as st
from world import BY_ID, FILMS

from llmrec.types import LANGUAGES, Item, Preferences, Recommendation
from llmrec.wishes import Wish, wishes
from llmrec.wording import (
    amount,
    chip_texts,
    display_name,
    duration,
    reason,
    reply_text,
    wish_label,
    wish_labels,
)

LABELS: list[tuple[str, tuple[str, ...], str, str, str]] = [
    ("genres", ("Horror",), "horror", "terror", "terror"),
    ("genres", ("Sci-Fi",), "Sci-Fi", "ficção científica", "ciencia ficción"),
    ("genres_any", ("Action", "Comedy"), "action or comedy", "ação ou comédia",
     "acción o comedia"),
    ("genres_out", ("Horror",), "no horror", "sem terror", "sin terror"),
    ("people", ("Tom Hanks",), "with Tom Hanks", "com Tom Hanks", "con Tom Hanks"),
    ("people_any", ("Tom Hanks", "Ricardo Darín"), "with Tom Hanks or Ricardo Darín",
     "com Tom Hanks ou Ricardo Darín", "con Tom Hanks o Ricardo Darín"),
    ("people_out", ("Tom Hanks",), "without Tom Hanks", "sem Tom Hanks", "sin Tom Hanks"),
    ("directors", ("Ridley Scott",), "directed by Ridley Scott", "com direção de Ridley Scott",
     "con dirección de Ridley Scott"),
    ("countries", ("France",), "from France", "origem: França", "origen: Francia"),
    ("countries_out", ("France",), "not from France", "fora: França", "fuera: Francia"),
    ("languages", ("French",), "in French", "em francês", "en francés"),
    ("languages_out", ("French",), "not in French", "não em francês", "no en francés"),
    ("year_min", ("1990",), "from 1990 on", "de 1990 em diante", "de 1990 en adelante"),
    ("year_max", ("1999",), "until 1999", "até 1999", "hasta 1999"),
    ("runtime_min", ("150",), "at least 2 h 30", "no mínimo 2 h 30", "como mínimo 2 h 30"),
    ("runtime_max", ("120",), "at most 2 h", "no máximo 2 h", "como máximo 2 h"),
    ("price_min", ("20.0",), "at least 20", "no mínimo 20", "como mínimo 20"),
    ("price_max", ("1299.9",), "at most 1299.90", "no máximo 1299,90", "como máximo 1299,90"),
    ("keywords_out", ("violent",), "avoiding: violent", "evitando: violência",
     "evitando: violencia"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("wish", "language", "label"),
    [
        pytest.param(Wish(row[0], row[1]), language, row[2 + i], id=f"{language}: {row[2 + i]}")
        for row in LABELS
        for i, language in enumerate(LANGUAGES)
    ],
)
def test_labels(wish: Wish, language: str, label: str) -> None:
    assert wish_label(wish, language) == label


FULL = Preferences(
    genres=("Horror",), genres_any=("Action", "Comedy"), genres_out=("War",), people=("A B",),
    people_any=("C D", "E F"), people_out=("G H",), directors=("I J",), countries=("France",),
    countries_out=("Spain",), languages=("French",), languages_out=("Spanish",), year_min=1990,
    year_max=1999, runtime_min=90, runtime_max=120, keywords_out=("violent",),
    price_min=20, price_max=1299.9,
)  # fmt: skip


def test_every_hard_wish_is_in_the_table() -> None:
    assert {w.field for w in wishes(FULL)} == {row[0] for row in LABELS}


@pytest.mark.parametrize("language", LANGUAGES)
def test_two_bounds_of_years_are_one_label(language: str) -> None:
    labels = wish_labels(wishes(FULL), language)
    assert len(labels) == len(wishes(FULL)) - 2  # the years, and the prices
    assert len([x for x in labels if "1990" in x]) == 1
    assert [x for x in labels if "1990" in x] == [x for x in labels if "1999" in x]
    one_year = wish_labels(wishes(Preferences(year_min=1994, year_max=1994)), language)
    assert len(one_year) == 1
    assert one_year[0].count("1994") == 1


def test_one_bound_of_years_is_its_own_label() -> None:
    assert wish_labels(wishes(Preferences(year_min=1990)), "en") == ("from 1990 on",)
    assert wish_labels(wishes(Preferences(year_max=1990)), "en") == ("until 1990",)
    assert wish_labels((), "en") == ()


def test_two_bounds_of_a_price_are_one_label() -> None:
    both = wishes(Preferences(price_min=20, price_max=49.9))
    assert [wish_labels(both, x) for x in LANGUAGES] == [
        ("from 20 to 49.90",), ("de 20 a 49,90",), ("de 20 a 49,90",)
    ]  # fmt: skip
    free = wishes(Preferences(price_min=0.0, price_max=0.0))
    assert wish_labels(free, "en") == ("from 0 to 0",)


def test_amounts_have_the_decimal_sign_of_the_language() -> None:
    assert [amount(24.9, x) for x in LANGUAGES] == ["24.90", "24,90", "24,90"]
    assert [amount(30.0, x) for x in LANGUAGES] == ["30.00", "30,00", "30,00"]
    assert [amount(30.0, x, cents=False) for x in LANGUAGES] == ["30", "30", "30"]
    assert amount(1299.9, "pt", cents=False) == "1299,90"


@pytest.mark.parametrize(
    ("minutes", "text"),
    [(45, "45 min"), (59, "59 min"), (60, "1 h"), (107, "1 h 47"), (120, "2 h"), (125, "2 h 05")],
)
def test_durations(minutes: int, text: str) -> None:
    assert duration(minutes) == text


@pytest.mark.parametrize("language", ["pt", "es"])
@pytest.mark.parametrize("film", FILMS, ids=lambda f: f.id)
def test_facts_have_names_in_every_language(film: Item, language: str) -> None:
    for kind, names in (
        ("genre", film.genres), ("keyword", film.keywords), ("country", film.countries),
        ("language", film.languages),
    ):  # fmt: skip
        for name in names:
            assert display_name(kind, name, language)
            assert display_name(kind, name, "en") == name


def test_a_name_without_a_translation_stays() -> None:
    assert display_name("genre", "Gumshoe", "pt") == "Gumshoe"
    assert display_name("country", "Brazil", "pt") == "Brasil"
    assert display_name("language", "Spanish", "es") == "español"


# -- reasons -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "crime, 2002, 2 h 10, Brazil, in Portuguese, directed by Fernando Meirelles, "
               "with Alexandre Rodrigues"),
        ("pt", "crime, 2002, 2 h 10, Brasil, em português, com direção de Fernando Meirelles, "
               "com Alexandre Rodrigues"),
        ("es", "crimen, 2002, 2 h 10, Brasil, en portugués, con dirección de Fernando Meirelles, "
               "con Alexandre Rodrigues"),
    ],
)  # fmt: skip
def test_a_reason_gives_the_facts_that_were_asked_for(language: str, text: str) -> None:
    wanted = Preferences(
        genres=("Crime",), year_min=2000, countries=("Brazil",), languages=("Portuguese",),
        directors=("Fernando Meirelles",), people=("Alexandre Rodrigues",),
    )  # fmt: skip
    assert reason(BY_ID["city-of-god"], wanted, wishes(wanted), None, language) == text


def test_a_reason_without_wishes_says_what_it_is() -> None:
    assert reason(BY_ID["amelie"], Preferences(), (), None, "en") == "comedy, romance, 2 h 02"


def test_a_theme_asked_for_is_named_where_the_film_has_it() -> None:
    wanted = Preferences(keywords=("heist", "sad"))
    assert "heist" in reason(BY_ID["nine-queens"], wanted, (), None, "en").split(", ")
    assert "sad" not in reason(BY_ID["nine-queens"], wanted, (), None, "en").split(", ")


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "shares Ricardo Darín and crime with Nine Queens"),
        ("pt", "tem Ricardo Darín e crime em comum com Nove Rainhas"),
        ("es", "tiene Ricardo Darín y crimen en común con Nueve reinas"),
    ],
)
def test_a_reason_names_what_is_shared(language: str, text: str) -> None:
    given_reason = reason(BY_ID["secret"], Preferences(), (), BY_ID["nine-queens"], language)
    assert given_reason.endswith(text)


@pytest.mark.parametrize(
    ("language", "text"),
    [("en", "close to Amélie"), ("pt", "próximo de O Fabuloso Destino de Amélie Poulain"),
     ("es", "cercana a Amelie")],
)  # fmt: skip
def test_a_reason_says_close_where_nothing_is_shared(language: str, text: str) -> None:
    assert reason(BY_ID["lost"], Preferences(), (), BY_ID["amelie"], language) == text


@pytest.mark.parametrize(
    ("id", "words", "language", "text"),
    [
        ("projector", "gift planets", "en", "mentions “gift”, “planets”, price 24.90"),
        ("projector", "planet mars", "en", "mentions “planets”, price 24.90"),
        ("projector", "mars", "en", "price 24.90"),
        ("panela", "pressao feijao", "pt", "menciona “pressão”, “feijão”, preço 129,90"),
        ("juego-memoria", "ninos espacio", "es", "menciona “niños”, “espacio”, precio 12,00"),
        ("planner", "paper", "en", "mentions “paper”"),
        ("planner", "", "en", ""),
    ],
)
def test_a_reason_of_a_product_says_which_words_it_mentions(
    id: str, words: str, language: str, text: str
) -> None:
    wanted = Preferences(text=words, price_max=500)
    said = reason(shop.BY_ID[id], wanted, wishes(wanted), None, language, things="products")
    assert said == text


@pytest.mark.parametrize("p", shop.PRODUCTS, ids=lambda p: p.id)
def test_what_a_reason_quotes_stands_in_the_product(p: Item) -> None:
    wanted = Preferences(text="space light gift coffee cozinhar presente correr ninos agua cable")
    quoted = re.findall("“(.+?)”", reason(p, wanted, (), None, "en", things="products"))
    assert all(q in f"{p.title} {p.description}".lower() for q in quoted)


def test_a_film_without_facts_has_an_empty_reason() -> None:
    assert reason(BY_ID["lost"], Preferences(), (), None, "en") == ""


@given(st.sampled_from(FILMS), st.sampled_from(FILMS), st.sampled_from(LANGUAGES))
def test_what_is_shared_is_true_of_both(item: Item, near: Item, language: str) -> None:
    text = reason(item, Preferences(), (), near, language)
    for person in {p for f in FILMS for p in f.people}:
        if person in text:
            assert person in item.people
            assert person in near.people


# -- replies -------------------------------------------------------------------------------------


def listed(*ids: str) -> list[Recommendation]:
    return [Recommendation(BY_ID[i], n, -1.0) for n, i in enumerate(ids, 1)]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "You asked for: horror, at most 2 h. These fit best: Alien (1979) and "
               "Get Out (2017)."),
        ("pt", "Você pediu: terror, no máximo 2 h. Estes são os que mais combinam: Alien: O Oitavo "
               "Passageiro (1979) e Corra! (2017)."),
        ("es", "Pediste: terror, como máximo 2 h. Estas son las que mejor encajan: Alien (1979) y "
               "¡Huye! (2017)."),
    ],
)  # fmt: skip
def test_a_reply(language: str, text: str) -> None:
    wanted = Preferences(genres=("Horror",), runtime_max=120, language=language)
    assert reply_text(listed("alien", "get-out"), wanted, wishes(wanted), (), 2) == text


SAYS = {
    "nothing": ("no film", "nenhum filme", "ninguna película"),
    "relaxed": (
        "gave up: at most 2 h",
        "abri mão de: no máximo 2 h",
        "renuncié a: como máximo 2 h",
    ),
    "few": ("Only 2 ", "Só 2 ", "Solo 2 "),
    "few_one": ("Only one film", "Só um filme", "Solo una película"),
    "found_one": ("This one", "Este é", "Esta es"),
    "unknown": ("“Foobar” or “Zed”", "“Foobar” ou “Zed”", "“Foobar” o “Zed”"),
    "excluded": ("left out", "Deixei de fora", "Dejé fuera"),
    "open": ("Tell me", "Diga", "Dime"),
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_reply_says_what_happened(language: str) -> None:
    n = LANGUAGES.index(language)
    said = {k: v[n] for k, v in SAYS.items()}
    plain = Preferences(language=language)
    hard = Preferences(genres=("Horror",), runtime_max=120, language=language)
    asked = wishes(hard)

    nothing = reply_text([], hard, asked, (), 5)
    assert said["nothing"] in nothing
    assert said["found_one"] not in nothing

    eased = reply_text(listed("alien"), hard, asked, asked[1:], 5)
    assert said["relaxed"] in eased
    assert said["few_one"] not in eased

    assert said["few"] in reply_text(listed("alien", "get-out"), hard, asked, (), 5)
    assert said["few_one"] in reply_text(listed("alien"), hard, asked, (), 5)
    assert said["found_one"] in reply_text(listed("alien"), hard, asked, (), 1)
    assert said["few_one"] not in reply_text(listed("alien"), hard, asked, (), 1)

    strange = Preferences(unknown=("Foobar", "Zed"), language=language)
    assert said["unknown"] in reply_text(listed("alien"), strange, (), (), 1)
    assert said["unknown"] in reply_text([], strange, (), (), 1)

    for known in ({"seen": ("coco",)}, {"dislikes": ("coco",)}):
        text = reply_text(listed("alien"), Preferences(language=language, **known), (), (), 1)
        assert said["excluded"] in text

    assert said["open"] in reply_text(listed("alien"), plain, (), (), 1)
    for wished in ({"likes": ("coco",)}, {"similar_to": ("coco",)}, {"keywords": ("sad",)}):
        text = reply_text(listed("alien"), Preferences(language=language, **wished), (), (), 1)
        assert said["open"] not in text


def test_a_film_without_a_year_has_no_brackets() -> None:
    assert "Vanished Reel." in reply_text(listed("lost"), Preferences(), (), (), 1)


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_of_the_templates_shines_through(language: str) -> None:
    text = reply_text(
        listed("alien", "coco", "lost"),
        Preferences(**{**FULL.to_dict(), "language": language, "unknown": ("X",)}),
        wishes(FULL),
        wishes(FULL)[3:5],
        9,
    )
    assert not re.search(r"[{}]|None|\(\)", text)


def of_shop(*ids: str) -> list[Recommendation]:
    return [Recommendation(shop.BY_ID[i], n, -1.0) for n, i in enumerate(ids, 1)]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "You asked for: at most 30. These fit best: Fold-Flat Camping Lantern and Trailhead "
               "900 Waterproof LED Torch."),
        ("pt", "Você pediu: no máximo 30. Estes são os que mais combinam: Fold-Flat Camping "
               "Lantern e Trailhead 900 Waterproof LED Torch."),
        ("es", "Pediste: como máximo 30. Estos son los que mejor encajan: Fold-Flat Camping "
               "Lantern y Trailhead 900 Waterproof LED Torch."),
    ],
)  # fmt: skip
def test_a_reply_over_products(language: str, text: str) -> None:
    wanted = Preferences(price_max=30, text="light", language=language)
    recommended = of_shop("lantern", "torch")
    assert reply_text(recommended, wanted, wishes(wanted), (), 2, things="products") == text


SAYS_OF_PRODUCTS = {
    "nothing": ("no product", "nenhum produto", "ningún producto"),
    "relaxed": ("No product meets all", "Nenhum produto atende", "Ningún producto lo cumple"),
    "few_one": ("Only one product", "Só um produto", "Solo un producto"),
    "found_one": ("This one", "Este é", "Este es el que"),
    "excluded": ("know already", "já conhece", "ya conoces"),
    "open": ("what it is for", "para que serve", "para qué es"),
    "again": ("nothing new", "nada novo", "nada nuevo"),
}
OF_FILMS = re.compile(r"\b(?:films?|filmes?|películas?|watch|assist\w+|género|genre|gênero)\b")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_reply_over_products_says_what_happened(language: str) -> None:
    n = LANGUAGES.index(language)
    said = {k: v[n] for k, v in SAYS_OF_PRODUCTS.items()}
    hard = Preferences(price_max=20, text="torch", language=language)
    asked = wishes(hard)
    torch = of_shop("torch")

    def reply(
        items: list[Recommendation], p: Preferences, *, relaxed: bool = False, again: bool = False
    ) -> str:
        given_up = asked if relaxed else ()
        text = reply_text(
            items, p, wishes(p), given_up, 5, again=again, things="products"
        )  # fmt: skip
        assert not OF_FILMS.search(text)
        return text

    assert said["nothing"] in reply([], hard)
    assert said["relaxed"] in reply(torch, hard, relaxed=True)
    assert said["few_one"] in reply(torch, hard)
    assert said["found_one"] in reply(torch, hard)
    assert said["again"] in reply(torch, hard, again=True)
    assert said["again"] not in reply(torch, hard)
    assert said["excluded"] in reply(torch, Preferences(seen=("x",), language=language))
    assert said["open"] in reply(torch, Preferences(language=language))
    assert said["open"] not in reply(torch, Preferences(text="torch", language=language))


# -- what the catalogue does not tell ------------------------------------------------------------

UNCHECKED = [
    (Preferences(price_max=30), "no prices, so I could not check: at most 30.",
     "não informa preços, então não pude conferir: no máximo 30.",
     "no indica precios, así que no pude comprobar: como máximo 30."),
    (Preferences(genres_out=("Horror",)), "no genres, so I could not check: no horror.",
     "não informa gêneros, então não pude conferir: sem terror.",
     "no indica géneros, así que no pude comprobar: sin terror."),
    (Preferences(people=("A B",)), "no names of people, so I could not check: with A B.",
     "não informa nomes de pessoas, então não pude conferir: com A B.",
     "no indica nombres de personas, así que no pude comprobar: con A B."),
    (Preferences(countries=("Brazil",), runtime_max=90),
     "no countries or running times, so I could not check: from Brazil, at most 1 h 30.",
     "não informa países nem durações, então não pude conferir: origem: Brasil, no máximo 1 h 30.",
     "no indica países ni duraciones, así que no pude comprobar: origen: Brasil, como máximo "
     "1 h 30."),
]  # fmt: skip


@pytest.mark.parametrize("row", UNCHECKED, ids=lambda row: str(row[1]))
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_reply_says_what_could_not_be_checked(
    row: tuple[Preferences, str, str, str], language: str
) -> None:
    p = Preferences(**{**row[0].to_dict(), "language": language})
    sentence = row[1 + LANGUAGES.index(language)]
    for items in ([], listed("alien")):
        text = reply_text(items, p, (), (), 1, unchecked=wishes(p))
        assert sentence in text
        assert SAYS["open"][LANGUAGES.index(language)] not in text
        for asked_for in ("You asked for", "Você pediu", "Pediste"):
            assert asked_for not in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_wish_can_be_said_to_be_unchecked(language: str) -> None:
    for wish in wishes(FULL):
        text = reply_text(
            listed("alien"), Preferences(language=language), (), (), 1, unchecked=[wish]
        )
        assert wish_label(wish, language) in text


# -- chips ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "no"),
    [("en", ["No comedy", "No drama"]), ("pt", ["Sem comédia", "Sem drama"]),
     ("es", ["Sin comedia", "Sin drama"])],
)  # fmt: skip
def test_chips_offer_to_leave_out_what_is_shown_most(language: str, no: list[str]) -> None:
    chips = chip_texts({"Drama": 2, "Comedy": 3, "War": 1}, language)
    assert [c for c in chips if c in no] == no
    assert len(chips) == len(set(chips)) == 7
    assert len(chip_texts({}, language)) == 5


@pytest.mark.parametrize("language", LANGUAGES)
def test_chips_of_products_speak_of_prices_only_where_there_are_some(language: str) -> None:
    cheaper = {"en": "Cheaper", "pt": "Mais barato", "es": "Más barato"}[language]
    priced = chip_texts({}, language, things="products", priced=True)
    assert cheaper in priced
    assert chip_texts({}, language, things="products") == [c for c in priced if c != cheaper]
    assert not {*priced} & {*chip_texts({}, language)}


def test_chips_of_products_offer_to_leave_out_what_is_shown_most() -> None:
    genres = {"Poetry": 1, "Comedy": 3, "Horror": 2}
    said = [chip_texts(genres, language, things="products", priced=True) for language in LANGUAGES]
    assert said == [
        ["Cheaper", "No comedy", "No horror", "Show me others"],
        ["Mais barato", "Sem comédia", "Sem terror", "Mostre outros"],
        ["Más barato", "Sin comedia", "Sin terror", "Muéstrame otros"],
    ]


@pytest.mark.parametrize(
    ("language", "by", "not_by"),
    [("en", "by Ana Lis", "not by Ana Lis"), ("pt", "de Ana Lis", "que não seja de Ana Lis"),
     ("es", "de Ana Lis", "que no sea de Ana Lis")],
)  # fmt: skip
def test_products_are_by_people(language: str, by: str, not_by: str) -> None:
    book = Item("b", "Salt", genres=("Fantasy",), cast=("Ana Lis",), price=9.5)
    wanted = Preferences(people=("Ana Lis",), language=language)
    unwanted = Preferences(people_out=("Ana Lis",), language=language)
    assert wish_labels(wishes(wanted), language, "products") == (by,)
    assert wish_labels(wishes(unwanted), language, "products") == (not_by,)
    assert by in reason(book, wanted, wishes(wanted), None, language, things="products")
    said = reply_text(
        [Recommendation(book, 1, 0.0)], wanted, wishes(wanted), (), 1, things="products"
    )
    assert by in said
