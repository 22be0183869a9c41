"""A tiny world: fourteen films, known so well that every right answer can be told by hand."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from llmrec.catalog import Catalog
from llmrec.lexicon import Lexicon
from llmrec.models.profile import Profile
from llmrec.models.scripted import ScriptedModel
from llmrec.preferences import Understander
from llmrec.recommender import Recommender
from llmrec.types import Conversation, Item, Message, Preferences

THIS_YEAR = 2026
MARK = re.compile(r"\[\w\d+\]|[#~][\w-]+")  # what stands for a name in a marked message


def _film(
    id: str,
    title: str,
    year: int,
    runtime: int,
    genres: str,
    directors: str,
    cast: str,
    country: str,
    language: str,
    popularity: float,
    *,
    pt: str = "",
    es: str = "",
    keywords: tuple[str, ...] = (),
    description: str = "",
) -> Item:
    titles = {k: (v,) for k, v in (("pt", pt), ("es", es)) if v}
    return Item(
        id=id,
        title=title,
        year=year,
        titles=titles,
        genres=tuple(genres.split()),
        directors=tuple(directors.split(", ")),
        cast=tuple(cast.split(", ")),
        countries=(country,),
        languages=(language,),
        runtime=runtime,
        keywords=keywords,
        description=description,
        popularity=popularity,
    )


FILMS = (
    _film("matrix", "The Matrix", 1999, 136, "Action Sci-Fi", "Lana Wachowski, Lilly Wachowski",
          "Keanu Reeves, Carrie-Anne Moss", "USA", "English", 1.0, pt="Matrix", es="Matrix",
          keywords=("dystopia",), description="A programmer finds that his world is simulated."),
    _film("speed", "Speed", 1994, 116, "Action Thriller", "Jan de Bont",
          "Keanu Reeves, Sandra Bullock", "USA", "English", 0.6, pt="Velocidade Máxima",
          keywords=("tense",), description="A bus must not go slower than fifty miles an hour."),
    _film("alien", "Alien", 1979, 117, "Horror Sci-Fi", "Ridley Scott", "Sigourney Weaver",
          "UK", "English", 0.9, pt="Alien: O Oitavo Passageiro", keywords=("space", "monsters"),
          description="A crew is hunted aboard its own ship."),
    _film("gladiator", "Gladiator", 2000, 155, "Action Drama", "Ridley Scott", "Russell Crowe",
          "USA", "English", 0.85, pt="Gladiador", keywords=("ancient rome", "violent"),
          description="A general becomes a slave and fights in the arena."),
    _film("city-of-god", "City of God", 2002, 130, "Crime Drama", "Fernando Meirelles",
          "Alexandre Rodrigues", "Brazil", "Portuguese", 0.8, pt="Cidade de Deus",
          es="Ciudad de Dios", keywords=("violent", "favela"),
          description="Two boys grow up in a slum of Rio de Janeiro."),
    _film("central-station", "Central Station", 1998, 110, "Drama", "Walter Salles",
          "Fernanda Montenegro", "Brazil", "Portuguese", 0.5, pt="Central do Brasil",
          es="Estación central", keywords=("road trip", "sad"),
          description="A letter writer takes a boy to his father."),
    _film("amelie", "Amélie", 2001, 122, "Comedy Romance", "Jean-Pierre Jeunet", "Audrey Tautou",
          "France", "French", 0.7, pt="O Fabuloso Destino de Amélie Poulain", es="Amelie",
          keywords=("feel-good",), description="A waitress mends the lives around her."),
    _film("toy-story", "Toy Story", 1995, 81, "Animation Comedy Family", "John Lasseter",
          "Tom Hanks", "USA", "English", 0.95, keywords=("friendship", "kids"),
          description="A cowboy doll is jealous of a spaceman."),
    _film("coco", "Coco", 2017, 105, "Animation Family Music", "Lee Unkrich", "Anthony Gonzalez",
          "USA", "English", 0.75, pt="Viva: A Vida É uma Festa", keywords=("kids",),
          description="A guitarist visits the land of his ancestors."),
    _film("nine-queens", "Nine Queens", 2000, 114, "Crime Thriller", "Fabián Bielinsky",
          "Ricardo Darín, Gastón Pauls", "Argentina", "Spanish", 0.4, pt="Nove Rainhas",
          es="Nueve reinas", keywords=("heist",), description="Two swindlers and rare stamps."),
    _film("secret", "The Secret in Their Eyes", 2009, 129, "Crime Drama", "Juan José Campanella",
          "Ricardo Darín, Soledad Villamil", "Argentina", "Spanish", 0.55,
          pt="O Segredo dos Seus Olhos", es="El secreto de sus ojos",
          description="A clerk writes about a murder that does not let him go."),
    _film("spirited-away", "Spirited Away", 2001, 125, "Animation Fantasy", "Hayao Miyazaki",
          "Rumi Hiiragi", "Japan", "Japanese", 0.8, pt="A Viagem de Chihiro",
          es="El viaje de Chihiro", keywords=("magic",),
          description="A girl works in a bathhouse of spirits."),
    _film("get-out", "Get Out", 2017, 104, "Horror Thriller", "Jordan Peele", "Daniel Kaluuya",
          "USA", "English", 0.65, pt="Corra!", es="¡Huye!", keywords=("race",),
          description="A photographer meets the parents of his girlfriend."),
    Item(id="lost", title="Vanished Reel", description="Nothing else is known of it."),
)  # fmt: skip
BY_ID = {f.id: f for f in FILMS}
RULES = Profile(lead="rules", detail="brief", writes=False)
WRITER = Profile(lead="rules", detail="full", writes=True)


@cache
def catalog() -> Catalog:
    """The world as a catalogue."""
    return Catalog.from_items(FILMS)


@cache
def lexicon() -> Lexicon:
    """What the world's films and people are called."""
    return Lexicon(FILMS, this_year=THIS_YEAR)


def rules() -> Understander:
    """Understanding without a model."""
    return Understander(lexicon(), BY_ID.__getitem__)


def said(*turns: str | tuple[str, ...], **known: tuple[str, ...]) -> Conversation:
    """A conversation: texts are the user's, tuples of ids are what was shown in answer."""
    messages = [
        Message("user", t) if isinstance(t, str) else Message("assistant", "Here you are.", t)
        for t in turns
    ]
    return Conversation(tuple(messages), **known)


def understood(*turns: str | tuple[str, ...], **known: tuple[str, ...]) -> Preferences:
    """What the rules alone make of a conversation."""
    return rules().understand([said(*turns, **known)])[0].preferences


def recommender(model: ScriptedModel | None = None, **options: Any) -> Recommender:
    """The world with a scripted model, whose gaps in understanding the rules fill."""
    options.setdefault("profile", RULES)
    return Recommender(model or ScriptedModel(), catalog(), **options)
