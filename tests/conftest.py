"""What several test files share: some films with known facts, and the embedded recommender."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from llmrec import Catalog, Item, Recommender

# A busy machine is no failure; and what CI runs twice gives the same result twice.
settings.register_profile("llmrec", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("llmrec")

FILMS = (
    Item(
        id="matrix",
        title="The Matrix",
        year=1999,
        titles={"pt": ("Matrix",), "es": ("Matrix", "La matriz")},
        genres=("Action", "Sci-Fi"),
        directors=("Lana Wachowski", "Lilly Wachowski"),
        cast=("Keanu Reeves", "Carrie-Anne Moss"),
        countries=("USA",),
        languages=("English",),
        runtime=136,
        keywords=("dystopia",),
        description="A programmer learns that his world is a simulation.",
        popularity=1.0,
    ),
    Item(
        id="matrix-2",
        title="The Matrix Reloaded",
        year=2003,
        genres=("Action", "Sci-Fi"),
        directors=("Lana Wachowski", "Lilly Wachowski"),
        cast=("Keanu Reeves", "Carrie-Anne Moss"),
        countries=("USA",),
        languages=("English",),
        runtime=138,
        popularity=0.6,
    ),
    Item(
        id="city-of-god",
        title="City of God",
        year=2002,
        original_title="Cidade de Deus",
        titles={"pt": ("Cidade de Deus",), "es": ("Ciudad de Dios",)},
        genres=("Crime", "Drama"),
        directors=("Fernando Meirelles",),
        cast=("Alexandre Rodrigues",),
        countries=("Brazil",),
        languages=("Portuguese",),
        runtime=130,
        keywords=("violent", "based on a true story"),
        description="Two boys grow up in a slum of Rio de Janeiro.",
        popularity=0.8,
    ),
    Item(
        id="amelie",
        title="Amélie",
        year=2001,
        original_title="Le Fabuleux Destin d'Amélie Poulain",
        titles={"pt": ("O Fabuloso Destino de Amélie Poulain",), "es": ("Amelie",)},
        genres=("Comedy", "Romance"),
        directors=("Jean-Pierre Jeunet",),
        cast=("Audrey Tautou",),
        countries=("France",),
        languages=("French",),
        runtime=122,
        keywords=("feel-good",),
        popularity=0.7,
    ),
    Item(
        id="toy-story-2",
        title="Toy Story 2",
        year=1999,
        genres=("Animation", "Comedy", "Family"),
        directors=("John Lasseter",),
        cast=("Tom Hanks",),
        countries=("USA",),
        languages=("English",),
        runtime=92,
        popularity=0.5,
    ),
    Item(id="unknown-facts", title="Lost Reel", description="Nothing else is known of it."),
)


@pytest.fixture(scope="session")
def films() -> list[Item]:
    """Six films, one of which has hardly any facts."""
    return list(FILMS)


@pytest.fixture(scope="session")
def catalog(films: list[Item]) -> Catalog:
    """A catalogue of ``films``."""
    return Catalog.from_items(films)


@pytest.fixture(scope="session")
def recommender() -> Recommender:
    """The embedded model on the embedded catalogue."""
    import torch

    torch.set_num_threads(1)  # so small a model loses more by waiting than it gains
    return Recommender.from_pretrained()
