"""Make up titles that read like a large catalogue's, and a tokenizer of the usual size for them.

    python benchmarks/titles.py --rows 1000
    python benchmarks/titles.py --rows 1300000 --vocabulary 150000 --out work

The real titles of the films come first. The others are made from the same films: half are film
labels (a walk over pairs of neighbouring words of real titles, with a year), half are products as
shops list them (such a walk with a subtitle from a description, an author, an edition). The films
are those of ../shared/data/wikipedia-movies beside this repository, or else the embedded ones.
The tokenizer is a byte-level BPE that splits as those of current models do, trained on titles,
people, descriptions and the messages of ../shared/data/redial; where their words do not carry the
vocabulary asked for, reserved tokens fill it up, and tokenizer/made.txt says how many.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from llmrec.catalog import Catalog
from llmrec.folders import write_whole

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
END = "<|end|>"
SPECIAL = ("<|pad|>", "<|begin|>", END, "<|system|>", "<|user|>", "<|assistant|>")
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# Contractions, words with one character before them, up to three digits, signs, blanks.
SPLIT = (
    r"(?i:'(?:[sdmt]|ll|ve|re))|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
EDITIONS = (
    "[VHS]",
    "[DVD]",
    "[Blu-ray]",
    "(Widescreen Edition)",
    "(Two-Disc Special Edition)",
    "(Paperback)",
    "(Hardcover)",
    "(Audio CD)",
    "Soundtrack",
    "Movie Poster (27 x 40 Inches)",
    "Box Set",
    "- Season {n}",
    "Vol. {n}",
    "T-Shirt, Black, Size {n}",
    "Mug {n} oz",
)
_PLAIN, _BY, _EDITION = 0.25, 0.55, 0.35  # shares of the products; the last two may meet


class Film(NamedTuple):
    """What titles are made from."""

    title: str
    year: int | None
    people: tuple[str, ...]
    text: str


def films(data: Path = DATA) -> list[Film]:
    """The films of the shared data, or the embedded ones where it is absent."""
    path = data / "wikipedia-movies" / "movies.jsonl.gz"
    if not path.is_file():
        return [
            Film(i.title, i.year, i.people, i.description) for i in Catalog.embedded() if i.title
        ]
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    return [Film(r["title"], r["year"], tuple(r["cast"]), r.get("extract", "")) for r in records]


class _Maker:
    def __init__(self, of: Sequence[Film], seed: int) -> None:
        self.rng = random.Random(seed)
        self.after: dict[str, list[str]] = {}
        for film in of:
            words = film.title.split()
            for word, following in zip(["", *words], [*words, ""], strict=True):
                self.after.setdefault(word, []).append(following)
        self.years = [f.year for f in of if f.year]
        self.people = [p for f in of for p in f.people] or ["Anonymous"]
        self.texts = [words for f in of if len(words := f.text.split()) > 12]

    def name(self) -> str:
        """A walk over neighbouring words of real titles."""
        words = [""]
        while len(words) == 1 or (words[-1] and len(words) < 9):
            words.append(self.rng.choice(self.after[words[-1]]))
        return " ".join(words[1:]).strip()

    def film(self) -> str:
        """As a catalogue labels a film."""
        return f"{self.name()} ({self.rng.choice(self.years)})"

    def product(self) -> str:
        """As a shop lists one."""
        rng = self.rng
        parts = [self.name()]
        if self.texts and rng.random() > _PLAIN:
            words = rng.choice(self.texts)
            at = rng.randrange(len(words) - 8)
            some = " ".join(words[at : at + rng.randint(2, 7)]).strip(" ,.;:()\"'")
            parts[0] += f": {some[:1].upper()}{some[1:]}"
        if rng.random() < _BY:
            parts.append(f"by {rng.choice(self.people)}")
        if rng.random() < _EDITION:
            parts.append(rng.choice(EDITIONS).format(n=rng.randint(1, 12)))
        return " ".join(parts)


def made_up_titles(n: int, of: Sequence[Film], seed: int = 0) -> list[str]:
    """``n`` different titles, the same for the same seed; the real ones first."""
    maker = _Maker(of, seed)
    found = dict.fromkeys(
        f"{f.title} ({f.year})" if f.year else f.title for f in of if f.title.strip()
    )
    while len(found) < n:
        found[maker.film() if len(found) % 2 else maker.product()] = None
    return list(found)[:n]


def trained_tokenizer(of: Sequence[Film], vocabulary: int, data: Path = DATA) -> tuple[Any, int]:
    """A byte-level BPE of ``vocabulary`` tokens, and how many of them the text carried."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=1,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(_texts(of, data), trainer)
    carried = int(inner.get_vocab_size())
    inner.add_special_tokens(
        [AddedToken(f"<|reserved {i}|>", special=True) for i in range(vocabulary - carried)]
    )
    return inner, carried


def _texts(of: Sequence[Film], data: Path) -> Iterator[str]:
    for film in of:
        yield f" {film.title} ({film.year})\n"
        yield from (f" {person}\n" for person in film.people)
        yield f" {film.text}\n"
    talk = data / "redial" / "train_partial.jsonl"
    if talk.is_file():
        with talk.open(encoding="utf-8") as lines:
            for line in lines:
                yield from (f"{message['text']}\n" for message in json.loads(line)["messages"])


def wrapped(inner: Any) -> Any:
    """The tokenizer as transformers takes it, with a chat template."""
    from transformers import PreTrainedTokenizerFast

    made: Any = PreTrainedTokenizerFast
    return made(
        tokenizer_object=inner,
        pad_token=SPECIAL[0],
        bos_token=SPECIAL[1],
        eos_token=END,
        chat_template=TEMPLATE,
    )


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=10, help="titles to make")
    parser.add_argument("--vocabulary", type=int, help="train a tokenizer of so many tokens too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder for titles.txt and tokenizer/")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Make them; files that are there already are kept."""
    args = make_parser().parse_args(argv)
    of = films()
    folder = args.out
    if folder is None or not (folder / "titles.txt").exists():
        text = "\n".join(made_up_titles(args.rows, of, args.seed))
        if folder is None:
            print(text)
        else:
            write_whole(folder / "titles.txt", text)
    made = folder and folder / "tokenizer" / "made.txt"  # written last
    if made and args.vocabulary and not made.exists():
        inner, carried = trained_tokenizer(of, args.vocabulary)
        real = len({f.title for f in of})
        wrapped(inner).save_pretrained(made.parent)
        write_whole(
            made,
            f"byte-level BPE of {args.vocabulary:,} tokens, {carried:,} of them trained on the "
            f"words of {len(of):,} films ({real:,} different titles) and of talk about films, "
            f"{args.vocabulary - carried:,} reserved",
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
