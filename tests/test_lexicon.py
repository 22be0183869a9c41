from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import shop
from hypothesis import given
from hypothesis import strategies as st
from world import BY_ID, FILMS, THIS_YEAR, lexicon

from llmrec.catalog import Catalog
from llmrec.lexicon import Lexicon, Marked, guess_language, terms
from llmrec.types import LANGUAGES, Item


def found(message: str) -> list[tuple[str, tuple[str, ...], str]]:
    """Kind, values and words of every span."""
    marked = lexicon().mark(message)
    return [(s.kind, s.values, message[s.start : s.end]) for s in marked.spans]


# -- titles and people are those of the catalogue ------------------------------------------------


@pytest.mark.parametrize(
    ("message", "id", "words"),
    [
        ("something like Alien", "alien", "Alien"),
        ("something like central station please", "central-station", "central station"),
        ("I loved Amelie", "amelie", "Amelie"),
        ("I loved The Secret in Their Eyes", "secret", "The Secret in Their Eyes"),
        ("adorei O Segredo dos Seus Olhos", "secret", "O Segredo dos Seus Olhos"),
        ("me encantó El secreto de sus ojos", "secret", "El secreto de sus ojos"),
        ("algo como cidade de deus", "city-of-god", "cidade de deus"),
        ("parecido a Nueve Reinas", "nine-queens", "Nueve Reinas"),
        ("something like Toy Story (1995)", "toy-story", "Toy Story (1995)"),
        ('a film like "Get Out"', "get-out", "Get Out"),
        ("films like Spirited Awey", "spirited-away", "Spirited Awey"),
    ],
)
def test_titles(message: str, id: str, words: str) -> None:
    assert found(message) == [("title", (id,), words)]


def test_a_title_of_every_film_is_found_in_every_language() -> None:
    for film in FILMS:
        for title in film.all_titles:
            kinds = found(f"I loved “{title}”")
            assert [(k, v) for k, v, _ in kinds] == [("title", (film.id,))], title


def test_words_that_descriptions_use_are_titles_only_where_written_as_such() -> None:
    described = [
        Item(id=str(i), title=f"Nameless {i}", description="he gains speed in a small town")
        for i in range(2)
    ]
    world = Lexicon([*FILMS, *described], this_year=THIS_YEAR)
    assert world.mark("how they gain speed").spans == ()
    assert [s.values for s in world.mark("I loved Speed").spans] == [("speed",)]


@pytest.mark.parametrize(
    ("message", "person"),
    [
        ("something with Keanu Reeves", "Keanu Reeves"),
        ("something with keanu reeves", "Keanu Reeves"),
        ("algo con Darin", "Ricardo Darín"),
        ("com ricardo darín", "Ricardo Darín"),
        ("anything by Miyazaki", "Hayao Miyazaki"),
        ("with Sigourny Weaver", "Sigourney Weaver"),
        ("dirigido por Jean Pierre Jeunet", "Jean-Pierre Jeunet"),
    ],
)
def test_people(message: str, person: str) -> None:
    assert [(k, v) for k, v, _ in found(message)] == [("person", (person,))]


def test_a_surname_of_several_means_any_of_them() -> None:
    ((kind, values, _),) = found("something by Wachowski")
    assert kind == "person"
    assert set(values) == {"Lana Wachowski", "Lilly Wachowski"}


def test_the_better_known_of_two_films_of_one_name_is_meant_unless_dated() -> None:
    films = [
        Item(id="old", title="Solaris", year=1972, popularity=0.2),
        Item(id="new", title="Solaris", year=2002, popularity=0.9),
    ]
    two = Lexicon(films, this_year=THIS_YEAR)
    assert two.mark("something like Solaris").spans[0].values == ("new",)
    assert two.mark("something like Solaris (1972)").spans[0].values == ("old",)


# -- the table of words --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "kind", "name"),
    [
        ("a horror film", "genre", "Horror"),
        ("um filme de terror", "genre", "Horror"),
        ("una película de terror", "genre", "Horror"),
        ("ficção científica", "genre", "Sci-Fi"),
        ("ficcao cientifica", "genre", "Sci-Fi"),
        ("una de ciencia ficción", "genre", "Sci-Fi"),
        ("algum faroeste", "genre", "Western"),
        ("a horor film", "genre", "Horror"),
        ("um documentario", "genre", "Documentary"),
        ("una comedai", "genre", "Comedy"),
        ("about time travel", "keyword", "time travel"),
        ("sobre viagem no tempo", "keyword", "time travel"),
        ("viajes en el tiempo", "keyword", "time travel"),
        ("a French film", "country", "France"),
        ("um filme francês", "country", "France"),
        ("una película francesa", "country", "France"),
        ("in Japanese", "language", "Japanese"),
        ("em japonês", "language", "Japanese"),
        ("en japonés", "language", "Japanese"),
    ],
)
def test_terms(message: str, kind: str, name: str) -> None:
    assert [(k, v) for k, v, _ in found(message)] == [(kind, (name,))]


def test_latin_america_is_many_countries() -> None:
    ((kind, values, _),) = found("a latin american film")
    assert kind == "country"
    assert {"Argentina", "Brazil", "Mexico"} <= set(values)
    assert "Spain" not in values


def test_the_table_says_everything_in_three_languages() -> None:
    names = {language: set() for language in LANGUAGES}
    for term in terms():
        assert term.words, term
        names[term.language].add((term.kind, term.name))
    assert names["en"] == names["pt"] == names["es"]


@pytest.mark.parametrize("term", [t for t in terms() if t.kind == "genre"], ids=str)
def test_every_word_for_a_genre_is_a_genre(term: object) -> None:
    everything = {(s.kind, s.values[0]) for w in term.words for s in lexicon().mark(w).spans}
    assert ("genre", term.name) in everything


# -- years, critiques, unknown names -------------------------------------------------------------


def test_years_and_running_times_carry_their_bounds() -> None:
    marked = lexicon().mark("from the 90s, at most 2 hours")
    assert [(s.kind, s.low, s.high) for s in marked.spans] == [
        ("year", 1990, 1999),
        ("runtime", None, 120),
    ]


@pytest.mark.parametrize(
    ("message", "critique"),
    [
        ("something newer", "newer"),
        ("algo mais recente", "newer"),
        ("algo más nuevo", "newer"),
        ("an older one", "older"),
        ("mais antigo", "older"),
        ("más antigua", "older"),
        ("a shorter one", "shorter"),
        ("mais curto", "shorter"),
        ("más corta", "shorter"),
        ("longer please", "longer"),
        ("mais longo", "longer"),
        ("más larga", "longer"),
        ("something lighter", "lighter"),
        ("mais leve", "lighter"),
        ("menos triste", "lighter"),
        ("a darker one", "darker"),
        ("mais sombrio", "darker"),
        ("más oscura", "darker"),
    ],
)
def test_critiques(message: str, critique: str) -> None:
    marked = lexicon().mark(message)
    assert [(s.kind, s.values) for s in marked.spans] == [("critique", (critique,))]
    assert f"~{critique}" in marked.text


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ('a film like "The Foobar Nights"', "The Foobar Nights"),
        ("algo con Zebulon Quixby", "Zebulon Quixby"),
        ("algo como “Noites de Foobar”", "Noites de Foobar"),
    ],
)
def test_names_the_catalogue_lacks(message: str, name: str) -> None:
    assert found(message) == [("unknown", (name,), name)]


# -- marks ---------------------------------------------------------------------------------------


def test_marks_stand_in_the_places_of_the_spans() -> None:
    message = "A horror like Alien or Get Out with Keanu Reeves, from the 90s, in Spanish"
    marked = lexicon().mark(message)
    assert marked.text.startswith("A #horror like [t1] or [t2] with [p1], ")
    assert [s.mark for s in marked.spans[-2:]] == ["[y1]", "[l1]"]
    assert marked.message == message


def rebuilt(marked: Marked) -> str:
    """The marked text, made of the message and its spans."""
    parts, at = [], 0
    for s in marked.spans:
        parts += [marked.message[at : s.start], s.mark]
        at = s.end
    return "".join([*parts, marked.message[at:]])


def check(message: str) -> None:
    marked = lexicon().mark(message)
    assert marked.message == message
    end = 0
    for s in marked.spans:
        assert end <= s.start < s.end <= len(message)
        end = s.end
        assert s.mark
        if s.kind == "title":
            assert all(v in BY_ID for v in s.values)
        if s.kind in ("year", "runtime"):
            assert s.values == ()
            assert (s.low, s.high) != (None, None)
        else:
            assert s.values
        if s.kind == "unknown":
            assert s.values[0] in message
    assert rebuilt(marked) == marked.text
    assert lexicon().mark(message) == marked


PIECES = st.sampled_from(
    [
        *(t for f in FILMS for t in f.all_titles),
        *(p for f in FILMS for p in f.people),
        *"""like with horror terror comedia não no sem sin but mas pero, . ( ) " ' “ ” « ‘ ’ \n -
        / ? 1990 90s (1995) newer mais antigo "Foobar Zed Quux hours 2 The a in português İstanbul ß
        \u0301 [t1] #horror ~newer {genre} \x00 \u202e 🎬""".split(),
    ]
)


@given(st.lists(PIECES, max_size=10), st.sampled_from(["", " "]))
def test_spans_lie_inside_and_apart_in_sentences(pieces: list[str], glue: str) -> None:
    check(glue.join(pieces))


@given(st.text(max_size=120))
def test_spans_lie_inside_and_apart_in_any_text(message: str) -> None:
    check(message)


def test_marks_are_never_shared_by_two_spans() -> None:
    marked = lexicon().mark("Alien, Coco, Amélie, 1990 or 2005, Keanu Reeves and Tom Hanks")
    marks = [s.mark for s in marked.spans]
    assert len(marks) == len(set(marks)) >= 6


def test_an_empty_world_still_knows_its_words() -> None:
    nobody = Lexicon([], this_year=THIS_YEAR)
    assert [s.kind for s in nobody.mark("a horror film from the 90s").spans] == ["genre", "year"]


# -- a lexicon of a catalogue --------------------------------------------------------------------

MESSAGES = Path(__file__).resolve().parents[1] / "eval" / "messages"


def test_a_lexicon_of_columns_is_that_of_the_items() -> None:
    catalog = Catalog.embedded()
    by_column = Lexicon.of(catalog, this_year=THIS_YEAR)
    by_item = Lexicon(iter(catalog), this_year=THIS_YEAR)
    assert by_column.known == by_item.known
    for language in LANGUAGES:
        lines = (MESSAGES / f"{language}.jsonl").read_text(encoding="utf-8").splitlines()
        for line in lines[::10]:
            for message in json.loads(line)["messages"]:
                said = message["content"]
                assert by_column.mark(said) == by_item.mark(said)
                assert by_column.strangers(said, ()) == by_item.strangers(said, ())


def test_what_a_catalogue_was_gathered_into_is_kept_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmrec.catalog._KEPT_FROM", 1)
    path, said = tmp_path / "films.lance", "like Toy Story or Alien with darin and Keanu Reeves"
    first = Lexicon.of(Catalog.from_items(FILMS, path), this_year=THIS_YEAR).mark(said)
    assert first == lexicon().mark(said)
    kept = sorted(f.name for f in (path / "kept").iterdir())
    assert kept == ["lexicon-1.arrays", "titles-1.arrays"]
    with monkeypatch.context() as patched:
        patched.setattr(Catalog, "columns", None)  # nothing is gathered again
        assert Lexicon.of(Catalog.open(path), this_year=THIS_YEAR).mark(said) == first
    (path / "kept" / "lexicon-1.arrays").write_bytes(b"damaged")
    assert Lexicon.of(Catalog.open(path), this_year=THIS_YEAR).mark(said) == first
    Catalog.from_items(FILMS[:1], path)  # another one in its place
    fewer = Lexicon.of(Catalog.open(path), this_year=THIS_YEAR)
    assert fewer.mark(said) == Lexicon(FILMS[:1], this_year=THIS_YEAR).mark(said) != first


# -- the language of a text ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("I would like to watch a film with my kids", "en"),
        ("Quero assistir a um filme com meus filhos", "pt"),
        ("Quiero ver una película con mis hijos", "es"),
        ("Poderia indicar filmes de ação de até 2 horas?", "pt"),
        ("¿Qué me recomiendas para esta noche?", "es"),
        ("nao gosto de filmes longos", "pt"),
        ("no me gustan las largas", "es"),
        ("anything but horror please", "en"),
    ],
)
def test_the_language_of_a_text(text: str, language: str) -> None:
    assert guess_language(text) == language


def test_what_tells_nothing_keeps_the_language() -> None:
    for default in LANGUAGES:
        assert guess_language("Matrix", default) == default
        assert guess_language("", default) == default


@given(st.text(max_size=200), st.sampled_from(LANGUAGES))
def test_any_text_has_a_language(text: str, default: str) -> None:
    assert guess_language(text, default) in LANGUAGES


# -- prices, and what a shop is asked ------------------------------------------------------------


def test_a_price_is_a_span_with_its_limits() -> None:
    message = "a torch for at most 30 euros"
    (span,) = shop.lexicon().mark(message).spans
    assert (span.kind, span.low, span.high, span.mark) == ("price", None, 30.0, "[m1]")
    assert message[span.start : span.end] == "at most 30 euros"
    assert shop.lexicon().mark(message).text == "a torch for [m1]"


@pytest.mark.parametrize(
    ("message", "films", "goods"),
    [
        ("under 30", "under 30", "[m1]"),
        ("something for 30 dollars", "something for 30 dollars", "something for [m1]"),
        ("under 30 dollars", "[m1]", "[m1]"),
        ("a longer one", "a ~longer one", "a longer one"),
        ("something old and long", "something [y1] and [d1]", "something old and long"),
        ("cheaper", "cheaper", "~cheaper"),
        ("mais barato", "mais barato", "~cheaper"),
        ("demasiado caro", "demasiado caro", "~cheaper"),
        ("under 90 minutes", "[d1]", "[d1]"),
    ],
)
def test_what_a_number_means_depends_on_what_the_catalogue_has(
    message: str, films: str, goods: str
) -> None:
    assert lexicon().mark(message).text == films
    assert shop.lexicon().mark(message).text == goods


def test_films_with_prices_have_both() -> None:
    priced = [dataclasses.replace(f, price=9.9) for f in FILMS]
    store = Lexicon(priced, this_year=THIS_YEAR)
    assert store.things == "films"
    assert store.mark("under 30").text == "under 30"  # minutes, or money?
    assert store.mark("30 dollars").text == "[m1]"
    assert store.mark("shorter and cheaper").text == "~shorter and ~cheaper"


def test_the_lexicon_tells_what_the_catalogue_has() -> None:
    assert shop.lexicon().things == "products"
    assert shop.lexicon().known == {"price"}
    assert lexicon().things == "films"
    assert lexicon().known == {
        "year", "runtime", "genres", "directors", "cast", "keywords", "countries", "languages"
    }  # fmt: skip
