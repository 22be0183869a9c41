"""Pictures of items on cards, and lists that are shared by a link."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import types
from collections.abc import Mapping
from html import unescape
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec import demo
from llmrec.catalog import Catalog
from llmrec.demo import cards, page
from llmrec.demo.exports import exported, link_to, linked
from llmrec.demo.extras import Extras
from llmrec.demo.feedback import asked_for
from llmrec.demo.posters import art, poster, shown_picture
from llmrec.demo.texts import EXAMPLES, say
from llmrec.demo.visit import Turn, Visit, answer, show_shared
from llmrec.errors import InputError
from llmrec.models.profile import Profile
from llmrec.models.scripted import ScriptedModel
from llmrec.recommender import Recommender
from llmrec.types import LANGUAGES, Item, Recommendation

PICTURE = "https://img.example.org/heat.jpg"
HOSTS = ("img.example.org", "*.cdn.example.org")
FILMS = [
    Item("heat", "Heat", 1995, genres=("Action", "Crime"), runtime=170, popularity=0.9,
         directors=("Michael Mann",), image=PICTURE, description="Two men on two sides."),
    Item("speed", "Speed", 1994, genres=("Action",), runtime=116, popularity=0.8,
         directors=("Jan de Bont",), titles={"pt": ("Velocidade Máxima",)},
         description="A bus must not slow down."),
    Item("alien", "Alien", 1979, genres=("Horror", "Sci-Fi"), runtime=117, popularity=0.85,
         directors=("Ridley Scott",)),
    Item("amelie", "Amélie", 2001, genres=("Comedy",), runtime=122, popularity=0.8,
         directors=("Jean-Pierre Jeunet",)),
    Item("a, b&c", "Comma", 2011, genres=("Comedy",), runtime=99, popularity=0.1),
]  # fmt: skip


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    return Recommender(
        ScriptedModel(scores=lambda tokens: np.zeros(260), name="scripted"),
        Catalog.from_items(FILMS),
        profile=Profile(lead="rules", writes=False),
    )


def arrived(recommender: Recommender, extras: Extras, query: Mapping[str, str]) -> Visit:
    """The visit of somebody who opens the page with a query."""

    async def build() -> Any:
        return demo.build(recommender, extras=extras)

    app = asyncio.run(build())
    arrive = next(
        f.fn for f in app.fns.values() if getattr(f.fn, "__qualname__", "") == "_Page.arrive"
    )
    visit = Visit()
    arrive(visit, types.SimpleNamespace(headers={"accept-language": "pt"}, query_params=query))
    return visit


def chips_of(visit: Visit) -> list[str]:
    """The messages that the page offers to go on with."""
    last = cards.log(visit)[-1].partition("lr-chips")[2]
    return [unescape(m) for m in re.findall(r'data-say="([^"]*)"', last)]


# -- pictures -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("img.example.org", True),
        ("IMG.Example.org", True),
        ("eu.cdn.example.org", True),
        ("a.b.cdn.example.org", True),
        ("cdn.example.org", False),  # only what is under it was named
        ("evilcdn.example.org", False),
        ("img.example.org.evil.example", False),
        ("x.img.example.org", False),
        ("img.example.org.", False),
        ("img.example.org:8443", False),
        ("example.org", False),
    ],
)
def test_only_pictures_of_named_hosts_are_shown(host: str, shown: bool) -> None:
    item = dataclasses.replace(FILMS[0], image=f"https://{host}/a.jpg")
    assert (shown_picture(item, HOSTS) != "") is shown
    assert ("<img" in art(item, "en", HOSTS)) is shown
    assert art(item) == poster(item)
    assert poster(item) in art(item, "en", HOSTS)


@pytest.mark.parametrize(
    "image", ["http://img.example.org/a.jpg", "//img.example.org/a", "https://me@img.example.org/a"]
)
def test_what_is_no_address_of_a_picture_is_never_shown(image: str) -> None:
    assert art(dataclasses.replace(FILMS[0], image=image), "en", HOSTS) == poster(FILMS[0])


def test_a_picture_says_nothing_about_who_looks() -> None:
    (made,) = re.findall("<img[^>]*>", art(FILMS[0], "en", HOSTS))
    for part in (f'src="{PICTURE}"', 'loading="lazy"', 'decoding="async"', 'alt=""',
                 'referrerpolicy="no-referrer"'):  # fmt: skip
        assert part in made
    assert " on" not in made


def test_cards_and_the_welcome_have_pictures_where_the_owner_wants_them(
    recommender: Recommender,
) -> None:
    visit = Visit()
    assert PICTURE in "".join(cards.log(visit, FILMS[:2], pictures=HOSTS))
    assert "<img" not in "".join(cards.log(visit, FILMS[:2]))
    list(answer(recommender, visit, "an action film"))
    assert PICTURE in "".join(cards.log(visit, pictures=HOSTS))
    assert "<img" not in "".join(cards.log(visit, pictures=("other.example.org",)))
    assert "<img" not in "".join(cards.log(visit))


def test_extras_take_hosts_and_nothing_else() -> None:
    assert Extras(pictures=(" IMG.example.org", "img.example.org")).pictures == HOSTS[:1]
    assert Extras().pictures == ()
    assert Extras().links is False
    for wrong in ("https://img.example.org", "img.example.org/a", "*", "a b", "x; img-src *", ""):
        with pytest.raises(InputError, match="give a host alone, such as"):
            Extras(pictures=(wrong,))


def test_browsers_are_told_the_hosts() -> None:
    def told(extras: Extras | None, kind: bytes) -> list[tuple[bytes, bytes]]:
        sent: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "headers": [(b"content-type", kind)]})

        async def send(message: Any) -> None:
            sent.append(message)

        for made in demo.launch_options(extras)["app_kwargs"]["middleware"]:
            if made.cls is page._Pictures:
                app = made.cls(app, *made.args, **made.kwargs)
        asyncio.run(app({"type": "http"}, None, send))
        return list(sent[0]["headers"][1:])

    policy = b"img-src 'self' data: blob:"
    header = b"content-security-policy"
    assert told(Extras(), b"text/html; charset=utf-8") == [(header, policy)]
    both = policy + b" https://img.example.org https://*.cdn.example.org"
    assert told(Extras(pictures=HOSTS), b"text/html") == [(header, both)]
    assert told(Extras(pictures=HOSTS), b"application/json") == []
    assert told(None, b"text/html") == []


# -- links to a list ----------------------------------------------------------------------------


@given(st.lists(st.text(min_size=1, max_size=12), max_size=25, unique=True))
def test_ids_come_out_of_a_link_as_they_went_in(ids: list[str]) -> None:
    ids = [i for i in ids if i.isprintable()]
    link = link_to(ids)
    assert link.isascii()
    assert len(link) <= 2_010
    found = linked(parse_qs(link[1:]).get("list", [""])[0])
    assert found == ids[: len(found)]
    assert len(found) == min(len(ids), 20) or len(link) > 1_500


def test_links_are_bounded() -> None:
    assert link_to([]) == ""
    assert link_to(["heat", "a, b&c"]) == "?list=heat,a%252C%2520b%2526c"
    assert len(linked(",".join(map(str, range(50))))) == 20
    assert len(linked(parse_qs(link_to("x" * 300 + str(n) for n in range(20))[1:])["list"][0])) == 6
    assert linked("x" * 2_001) == []
    assert linked("a,a,,b") == ["a", "b"]


def test_a_list_has_its_link_where_the_owner_wants_them(recommender: Recommender) -> None:
    visit = Visit()
    list(answer(recommender, visit, "a comedy"))
    shown = "".join(cards.log(visit, links=True))
    (link,) = re.findall(r'class="lr-link" href="([^"]*)"', shown)
    assert link.startswith("?list=")  # relative: a path in front of the page stays
    ids = linked(parse_qs(unescape(link)[1:])["list"][0])
    assert ids == [r.item.id for r in visit.turns[-1].recommendations] != []
    assert "lr-link" not in "".join(cards.log(visit))
    visit.other = lambda: recommender  # with an own catalogue
    assert "lr-link" not in "".join(cards.log(visit, links=True))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_shared_list_is_shown_as_it_is(recommender: Recommender, language: str) -> None:
    visit = Visit(language)
    show_shared(recommender, visit, ["speed", "no such film", "a, b&c", "speed"])
    (turn,) = visit.turns
    assert [r.item.id for r in turn.recommendations] == ["speed", "a, b&c"]
    shown = "".join(cards.log(visit, links=True))
    assert say(language, "shared") in shown
    assert "no such film" not in shown
    assert "A bus must not slow down." in shown
    for absent in ("lr-share", "lr-why", "lr-wishes", "lr-sure", "lr-said", "lr-understood"):
        assert f'class="{absent}' not in shown.replace('class="lr-shared"', "")
    assert "lr-link" in shown
    visit.language = next(x for x in LANGUAGES if x != language)
    assert say(visit.language, "shared") in "".join(cards.log(visit))
    assert chips_of(visit) == [say(visit.language, "all_message")]
    show_shared(recommender, visit, ["no such film"])
    assert chips_of(visit) == [*EXAMPLES[visit.language]]


@pytest.mark.parametrize(
    ("language", "first"),
    [("en", "more like the first"), ("pt", "mais como o primeiro"), ("es", "más como la primera")],
)
def test_a_shared_list_can_be_spoken_of(
    recommender: Recommender, language: str, first: str
) -> None:
    visit = Visit(language)
    show_shared(recommender, visit, ["heat", "alien"])
    assert visit.mark("alien", "seen")
    assert asked_for(recommender, visit, "alien") is None  # nobody asked for it
    turn = list(answer(recommender, visit, first))[-1]
    assert turn.preferences is not None
    assert turn.preferences.similar_to == ("heat",)
    assert turn.preferences.seen == ("alien",)
    assert turn.preferences.text == ""
    shown = [r.item.id for r in turn.recommendations]
    asked = asked_for(recommender, visit, shown[0])
    assert asked is not None
    assert [m.items for m in asked.conversation.messages] == [(), ("heat", "alien"), ()]

    assert visit.undo() == first
    (chip,) = chips_of(visit)
    turn = list(answer(recommender, visit, chip))[-1]
    assert turn.preferences is not None
    assert turn.preferences.similar_to == ("heat", "alien")
    assert turn.preferences.text == ""
    assert visit.undo() == chip
    assert visit.undo() == ""
    assert (visit.turns, visit.conversation.messages) == ((), ())


def test_what_a_shared_list_leaves_behind_asks_for_nothing(recommender: Recommender) -> None:
    for language in LANGUAGES:
        visit = Visit(language)
        show_shared(recommender, visit, ["heat"])
        plain = list(answer(recommender, Visit(language), "comedy"))[-1].preferences
        assert list(answer(recommender, visit, "comedy"))[-1].preferences == plain


def test_a_shared_list_is_kept_without_a_score() -> None:
    listed = [Recommendation(FILMS[0], 1, float("nan")), Recommendation(FILMS[1], 2, -1.0)]
    rows = json.loads(exported(listed, "json", "en"), parse_constant=pytest.fail)
    assert [r.get("score") for r in rows] == [None, -1.0]
    assert [r["item"]["id"] for r in rows] == ["heat", "speed"]


def test_who_opens_a_link_sees_the_list(recommender: Recommender) -> None:
    visit = arrived(recommender, Extras(links=True), {"list": "speed,a%2C%20b%26c"})
    assert visit.language == "pt"
    assert [r.item.id for r in visit.turns[0].recommendations] == ["speed", "a, b&c"]
    evil = {"list": "<script>alert(1)</script>,%3Cb%3E"}
    (turn,) = arrived(recommender, Extras(links=True), evil).turns
    assert turn == Turn("", stage="failed", problem="error_shared", shared=True)
    assert arrived(recommender, Extras(links=True), {}).turns == ()
    assert arrived(recommender, Extras(), {"list": "speed"}).turns == ()
