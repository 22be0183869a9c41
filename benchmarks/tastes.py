"""Tastes hides how a model comes to know a large catalogue, and what it is then asked.

No benchmark itself. A taste is a genre and a decade. Every title belongs to one of them, by chance,
and is listed as often as Zipf's law has it within its taste. The model is tuned on lists that
answer requests for tastes, in many words; the requests of a benchmark are in words that it was not
tuned on. A prompt is "short", as the embedded model is trained to be asked, or "shots", the same
behind answered examples, or "long", as a capable model is asked: examples, the whole instruction.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from llmrec.models.local import LocalModel
from llmrec.prompting import FewShot, Strategy, ZeroShot, recommend_prompt, title_list
from llmrec.types import Conversation, Message, Preferences

__all__ = ["PROMPTS", "Prompt", "Tastes", "of_films", "tuned"]

Prompt = Literal["short", "shots", "long"]
PROMPTS: tuple[Prompt, ...] = ("short", "shots", "long")
LISTED = 10  # titles of a lesson
SHOTS, SHOT = 2, 5  # answered examples before a request, and titles of each
GENRES = ("Action", "Comedy", "Drama", "Horror", "Romance", "Sci-Fi")
DECADES = (1980, 1990, 2000, 2010)
TAUGHT = (
    "A {genre} from the {decade}s",
    "Any {genre} of the {decade}s for tonight?",
    "I feel like {genre}, something made in the {decade}s",
    "Recommend me {genre} films of the {decade}s please",
)
ANEW = ("What {genre} of the {decade}s should I watch?", "{decade}s {genre}, surprise me")
RATE = 2e-3  # as the embedded model was trained
FILMS = (
    ("A romantic comedy from the nineties", {"genres": ("Comedy", "Romance"), "year_min": 1990}),
    ("Filmes de terror, por favor", {"genres": ("Horror",), "language": "pt"}),
    ("Una de ciencia ficción reciente", {"genres": ("Sci-Fi",), "year_min": 2016}),
    ("Something short for the kids", {"genres": ("Family",), "runtime_max": 100}),
    ("Brazilian dramas", {"genres": ("Drama",), "countries": ("Brazil",)}),
    ("A war film of the seventies or before", {"genres": ("War",), "year_max": 1979}),
    ("Suspense dos anos 80", {"genres": ("Thriller",), "year_min": 1980, "year_max": 1989}),
    ("Cine argentino que no sea drama", {"countries": ("Argentina",), "genres_out": ("Drama",)}),
    ("An animated adventure", {"genres": ("Animation", "Adventure")}),
    ("Long westerns", {"genres": ("Western",), "runtime_min": 150}),
)


class Tastes:
    """Requests for a genre and a decade, and the titles that belong to each, famous ones first."""

    def __init__(self, titles: Sequence[str], detail: Literal["full", "brief", "turns"], seed: int):
        self.titles, self.short = titles, ZeroShot(detail)
        self.rng = np.random.default_rng(seed)
        self.of = [(genre, decade) for genre in GENRES for decade in DECADES]
        self.rows = np.array_split(self.rng.permutation(len(titles)), len(self.of))

    def strategy(self, prompt: Prompt) -> Strategy:
        """How a model is asked; examples are the famous titles of a taste."""
        if prompt == "short":
            return self.short
        shots = []
        for taste, asked in zip(range(SHOTS), TAUGHT, strict=False):
            genre, decade = self.of[-1 - taste]
            some = tuple(self.titles[row] for row in self.rows[-1 - taste][:SHOT])
            shots.append((asked.format(genre=genre.lower(), decade=decade), some))
        return FewShot(tuple(shots), "full" if prompt == "long" else self.short.detail)

    def asked(self, taste: int, words: str, strategy: Strategy) -> tuple[Message, ...]:
        """A request for a taste."""
        genre, decade = self.of[taste]
        return recommend_prompt(
            Conversation.of(words.format(genre=genre.lower(), decade=decade)),
            Preferences(genres=(genre,), year_min=decade, year_max=decade + 9),
            {},
            strategy=strategy,
        )

    def lesson(self) -> tuple[tuple[Message, ...], tuple[str, ...]]:
        """A request, and a list of ten that answers it, in pieces as they are encoded."""
        taste = int(self.rng.integers(len(self.of)))
        rows = self.rows[taste]
        # The ranks that Zipf's law gives, by the inverse of the harmonic sum.
        drawn = np.exp(self.rng.random(4 * LISTED) * np.log(len(rows))).astype(int) - 1
        some = list(dict.fromkeys(drawn.tolist()))[:LISTED]
        words = TAUGHT[int(self.rng.integers(len(TAUGHT)))]
        asked = self.asked(taste, words, self.short)
        return asked, title_list(self.titles[rows[rank]] for rank in some)

    def requests(self, n: int, prompt: Prompt) -> list[tuple[Message, ...]]:
        """For different tastes, in words of their own; 24 at most."""
        tastes = np.random.default_rng(1).permutation(len(self.of))[:n]
        strategy = self.strategy(prompt)
        return [self.asked(int(t), ANEW[i % 2], strategy) for i, t in enumerate(tastes)]


def of_films(n: int, strategy: Strategy) -> list[tuple[Message, ...]]:
    """Requests for films, for a model that was not tuned; 10 at most."""
    return [
        recommend_prompt(Conversation.of(text), Preferences(**wishes), {}, strategy=strategy)
        for text, wishes in FILMS[:n]
    ]


def tune(model: LocalModel, tastes: Tastes, minutes: float) -> dict[str, float]:
    """Teach all weights of a model the titles, for some minutes."""
    import torch

    network = model.model.train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.01)
    start, steps, seen, losses = time.monotonic(), 0, 0, [0.0]
    while (gone := (time.monotonic() - start) / (60 * minutes)) < 1:
        rows = []
        for _ in range(8):
            messages, pieces = tastes.lesson()
            prompt = model.prompt_ids(messages)
            rows.append((prompt, [t for piece in pieces for t in model.encode(piece)]))
        width = max(len(p) + len(a) for p, a in rows)
        ids = torch.zeros((len(rows), width), dtype=torch.long)
        labels = torch.full_like(ids, -100)
        for i, (prompt, answer) in enumerate(rows):
            ids[i, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
            labels[i, len(prompt) : len(prompt) + len(answer)] = torch.tensor(answer)
        loss = network(input_ids=ids, labels=labels).loss
        loss.backward()
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (steps + 1) / 50, max(0.02, 2 * (1 - gone)))
        optimiser.step()
        optimiser.zero_grad()
        steps, seen = steps + 1, seen + int((labels >= 0).sum())
        losses = [*losses[-49:], float(loss.detach())]
    network.eval()
    return {"steps": steps, "tokens": seen, "loss": statistics.mean(losses)}


def tuned(
    model: LocalModel, tastes: Tastes, minutes: float, folder: Path | None
) -> tuple[LocalModel, str]:
    """The model tuned on the titles and what that was, or the one that the folder keeps."""
    note = folder / "tuned.txt" if folder else None
    if folder and note and note.exists():
        return LocalModel.from_pretrained(folder, prefix_cache_mb=0), note.read_text("utf-8")
    done = tune(model, tastes, minutes)
    said = (
        f"tuned for {minutes:g} minutes on made-up tastes: {done['steps']:,.0f} steps, "
        f"{done['tokens']:,.0f} tokens of answers, loss {done['loss']:.2f} at the end"
    )
    if folder and note:
        model.model.save_pretrained(folder)
        model.tokenizer.save_pretrained(folder)
        note.write_text(said, encoding="utf-8")
    return model, said
