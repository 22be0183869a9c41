"""Recommending from a shop: wishes in free words, prices, and what the catalogue does not tell."""

from __future__ import annotations

from typing import Any

import pytest
import shop
import world

from llmrec.catalog import Catalog
from llmrec.models.profile import Profile
from llmrec.models.scripted import ScriptedModel
from llmrec.prompting import recommend_prompt, reply_prompt, understanding_prompt
from llmrec.recommender import Recommender
from llmrec.types import LANGUAGES, Conversation, Item, Message, Preferences, Reply
from llmrec.wishes import meets_all, wishes


def answer(rec: Recommender, *turns: str, k: int = 3) -> Reply:
    """The reply to the last of several messages, each answered before the next one."""
    said: list[Message] = []
    reply = Reply("")
    for turn in turns:
        said.append(Message("user", turn))
        reply = rec.chat(said, k, preferences=rec.understand(said))
        said.append(reply.message())
    return reply


def shown(reply: Reply) -> list[str]:
    return [r.item.id for r in reply.recommendations]


# -- understanding -------------------------------------------------------------------------------

WISHES: list[tuple[str, str, dict[str, Any]]] = [
    ("a gift for a ten-year-old who likes space, under 30", "projector",
     {"text": "gift space", "price_max": 30.0}),
    ("um presente para minha mãe que gosta de cozinhar, até 80 reais", "avental",
     {"text": "presente cozinhar", "price_max": 80.0}),
    ("unos auriculares para correr por menos de 50 euros", "auriculares",
     {"text": "auriculares correr", "price_max": 50.0}),
    ("a waterproof torch", "torch", {"text": "waterproof torch"}),
    ("I want a water bottle", "bottle", {"text": "water bottle"}),
    ("a USB hub please", "usb-hub", {"text": "usb hub"}),
    ("a horror game for tonight", "horror-dice", {"text": "horror game"}),
    ("something for coffee, between 40 and 50", "kettle",
     {"text": "coffee", "price_min": 40.0, "price_max": 50.0}),
    ("a gift for kids", "projector", {"text": "gift kids"}),
    ("a long cable for the desk, max 80", "keyboard",
     {"text": "long cable desk", "price_max": 80.0}),
    ("do you have the Gooseneck Kettle?", "kettle", {"text": "gooseneck kettle"}),
    ("um fone sem fio com Bluetooth", "fone", {"text": "fone fio bluetooth"}),
    ("mochila com capa de chuva até R$ 150", "mochila",
     {"text": "mochila capa chuva", "price_max": 150.0}),
    ("uma lancheira de dinossauro para criança de 5 anos", "lancheira",
     {"text": "lancheira dinossauro crianca"}),
    ("uma caixa de som de até duzentos e cinquenta reais", "caixa-som",
     {"text": "caixa som", "price_max": 250.0}),
    ("quiero una linterna", "linterna", {"text": "linterna"}),
    ("un regalo para niños a los que les gusta el espacio, no más de 15 euros", "juego-memoria",
     {"text": "regalo ninos espacio", "price_max": 15.0}),
    ("algo para ver la luna y los planetas", "telescopio", {"text": "luna planetas"}),
]  # fmt: skip


@pytest.mark.parametrize(("message", "best", "wanted"), WISHES, ids=lambda x: str(x)[:40])
def test_a_wish_in_free_words_finds_the_product(
    message: str, best: str, wanted: dict[str, Any]
) -> None:
    rec = shop.recommender()
    understood = rec.understand(message).to_dict()
    understood.pop("language", None)
    assert understood == wanted
    found = rec.recommend(message, 3)
    assert found[0].item.id == best
    assert all(meets_all(r.item, wishes(rec.understand(message))) for r in found)


def test_words_of_films_are_no_facts_of_products() -> None:
    for message in (
        "an action figure of a war hero",
        "a French press",
        "juego de terror en inglés",
    ):
        understood = shop.recommender().understand(message)
        assert wishes(understood) == ()
        assert understood.keywords == ()
        assert understood.text


def test_brands_are_words_to_search_and_not_strangers() -> None:
    understood = shop.recommender().understand("a case for the Zephyrus phone by Lumora")
    assert understood.unknown == ()
    assert understood.text.split() == ["case", "zephyrus", "phone", "lumora"]


def test_a_product_with_an_opinion_is_not_what_is_wanted() -> None:
    loved = shop.recommender().understand("I loved the Hand Coffee Grinder, something similar")
    assert (loved.likes, loved.similar_to, loved.text) == (("grinder",), ("grinder",), "")
    reply = answer(shop.recommender(), "something like the Gooseneck Kettle")
    assert shown(reply) == ["grinder"]  # the other thing for coffee
    hated = shop.recommender().understand("I hated the Cork Yoga Mat")
    assert hated.dislikes == ("mat",)


@pytest.mark.slow
def test_the_embedded_model_does_not_talk_the_words_down() -> None:
    from llmrec import Recommender as Whole

    rec = Whole.from_pretrained(catalog=shop.catalog())
    for message, best, _ in WISHES[:6]:
        assert rec.recommend(message, 3)[0].item.id == best


# -- over the turns ------------------------------------------------------------------------------


def test_a_limit_said_later_bounds_what_was_asked_before() -> None:
    reply = answer(shop.recommender(), "something for coffee", "under 50")
    assert (reply.preferences.text, reply.preferences.price_max) == ("coffee", 50.0)
    assert shown(reply) == ["kettle"]
    assert "nothing new" in reply.text


def test_cheaper_is_less_than_the_first_one_shown() -> None:
    assert shown(answer(shop.recommender(), "quero uma mochila")) == ["mochila", "mochila-montana"]
    reply = answer(shop.recommender(), "quero uma mochila", "mais barato")
    assert reply.preferences.price_max == 139.89
    assert shown(reply) == ["mochila-montana"]
    cheapest = answer(shop.recommender(), "quero uma mochila", "mais barato", "mais barato")
    assert cheapest.preferences.price_max == 63.99
    assert "abri mão de: no máximo 63,99" in cheapest.text


@pytest.mark.parametrize(
    "words", ["any price", "the price doesn't matter", "o preço não importa", "da igual el precio"]
)
def test_a_limit_can_be_taken_back(words: str) -> None:
    reply = answer(shop.recommender(), "a coffee grinder under 50", words)
    assert reply.preferences.price_max is None
    assert shown(reply)[0] == "grinder"
    assert reply.preferences.text == "coffee grinder"


def test_the_chips_lead_on() -> None:
    rec = shop.recommender()
    said = [Message("user", "quero uma mochila")]
    reply = rec.chat(said, 1, preferences=rec.understand(said))
    chips = rec.chips([*said, reply.message()])
    assert chips == ["Mais barato", "Mostre outros"]
    for chip in chips:
        more = answer(rec, "quero uma mochila", chip, k=1)
        assert shown(more) == ["mochila-montana"]
        assert more.preferences.text == "mochila"
    both = rec.chat(said, 2, preferences=rec.understand(said))
    assert rec.chips([*said, both.message()]) == []  # there is no third one


# -- what is not there ---------------------------------------------------------------------------


def test_nothing_is_recommended_for_words_that_no_product_holds() -> None:
    reply = answer(shop.recommender(), "a spaceship from Mars")
    assert reply.recommendations == ()
    assert "no product" in reply.text


def test_a_price_that_nothing_meets_is_given_up_before_the_words() -> None:
    reply = answer(shop.recommender(), "a torch under 5")
    assert shown(reply) == ["torch"]
    assert "No product meets all of it, so I gave up: at most 5." in reply.text
    assert reply.recommendations[0].relaxed == ("at most 5",)


def test_a_product_without_a_price_meets_no_limit() -> None:
    assert shown(answer(shop.recommender(), "a weekly planner")) == ["planner"]
    assert "planner" not in shown(answer(shop.recommender(), "a light or planner under 500"))


@pytest.mark.parametrize(
    ("language", "message", "sentence"),
    [
        ("en", "a torch under 30 dollars",
         "The catalogue gives no prices, so I could not check: at most 30."),
        ("pt", "uma mochila por até 30 reais",
         "O catálogo não informa preços, então não pude conferir: no máximo 30."),
        ("es", "una linterna por menos de 30 euros",
         "El catálogo no indica precios, así que no pude comprobar: como máximo 30."),
    ],
)  # fmt: skip
def test_a_price_is_not_checked_where_there_are_none(
    language: str, message: str, sentence: str
) -> None:
    rec = shop.recommender(shop.without_prices())
    assert rec.things == "products"
    reply = answer(rec, message)
    assert sentence in reply.text
    assert reply.preferences.price_max == 30
    assert reply.recommendations
    assert all(r.matched == r.relaxed == () for r in reply.recommendations)
    assert reply.preferences.language == language


def test_what_is_unwanted_and_unknown_is_not_searched_for() -> None:
    reply = answer(shop.recommender(), "uma caixa de som, sem violência")
    assert reply.preferences.text == "caixa som"
    assert "não informa temas" in reply.text
    assert shown(reply) == ["caixa-som"]


# -- films without facts -------------------------------------------------------------------------

BARE = tuple(
    Item(f.id, f.title, f.year, directors=f.directors, description=f.description)
    for f in world.FILMS
)
QUESTIONS: list[tuple[str, str, str]] = [
    ("a film from Brazil of at most two hours about a slum", "countries or running times",
     "city-of-god"),
    ("um filme de terror sem violência", "gêneros nem temas", ""),
    ("una película en español de 2000", "idiomas hablados", ""),
    ("a film for under 10 dollars", "prices", ""),
]  # fmt: skip


@pytest.mark.parametrize(("message", "facts", "best"), QUESTIONS, ids=lambda x: str(x)[:30])
def test_wishes_that_films_cannot_be_held_against_filter_nothing(
    message: str, facts: str, best: str
) -> None:
    rec = shop.recommender(Catalog.from_items(BARE))
    assert rec.things == "films"
    reply = answer(rec, message)
    assert facts in reply.text
    assert reply.recommendations
    assert not any(r.relaxed for r in reply.recommendations)
    for words in ("gave up", "abri mão", "renuncié"):
        assert words not in reply.text
    if best:
        assert shown(reply)[0] == best


def test_themes_that_no_film_has_are_searched_for_in_the_texts() -> None:
    rec = shop.recommender(Catalog.from_items(BARE))
    understood = rec.understand("a film about a murder")
    assert "murder" in understood.text.split()
    assert "secret" in shown(answer(rec, "a film about a murder"))


def test_films_with_facts_are_understood_as_before() -> None:
    understood = world.understood("a horror film about space, not too long")
    assert understood == Preferences(
        genres=("Horror",), keywords=("space",), runtime_max=100, text="about"
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_is_in_the_language_set(language: str) -> None:
    rec = shop.recommender()
    reply = rec.chat(
        "torch", preferences=Preferences(text="torch", price_max=20, language=language)
    )
    word = {"en": "at most 20", "pt": "no máximo 20", "es": "como máximo 20"}[language]
    assert word in reply.text
    assert reply.recommendations[0].matched == (word,)


# -- what a model is told ------------------------------------------------------------------------


def test_prompts_over_products_do_not_speak_of_films() -> None:
    said = Conversation((Message("user", "a torch"),))
    goods = shop.PRODUCTS[:2]
    prompts = [
        recommend_prompt(said, Preferences(), {}, candidates=goods, things="products"),
        reply_prompt(said, Preferences(), goods, things="products"),
        reply_prompt(said, Preferences(), (), things="products"),
        understanding_prompt(shop.lexicon().mark("a torch"), things="products"),
    ]
    for prompt in prompts:
        text = " ".join(m.content for m in prompt)
        assert "film" not in text
        assert "product" in text


def test_a_model_that_writes_is_told_of_products() -> None:
    model = ScriptedModel("The torch is made for the rain.")
    rec = Recommender(model, shop.catalog(), profile=Profile(lead="rules", writes=True))
    answered = rec.chat("a torch under 30", preferences=rec.understand("a torch under 30"))
    assert answered.text == "The torch is made for the rain."
    heard = " ".join(m.content for call in model.calls for m in call.messages)
    assert "friendly product adviser" in heard
    assert "film" not in heard


def test_no_chip_asks_for_what_cannot_be_checked() -> None:
    rec = shop.recommender(Catalog.from_items(BARE))
    said = [Message("user", "a film about a murder")]
    reply = rec.chat(said, 3, preferences=rec.understand(said))
    assert "Shorter" not in rec.chips([*said, reply.message()], 7)
    films = world.recommender()
    assert "Shorter" in films.chips([*said, Message("assistant", "", ("matrix",))], 7)
