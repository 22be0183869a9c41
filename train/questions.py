"""Learn the weights that tell what a question asks for from questions as people word them.

    python train/questions.py
    python train/questions.py --out runs/questions --errors 30

The wordings are those that generated training questions have, those of ``train/questions``, each
file by another hand, and whole messages. Names, genres, years and the rest stand in their slots
at random. Cross-validation holds out one file of wordings at a time. The same files give the
same weights, byte for byte.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llmrec.catalog import Catalog
from llmrec.errors import InputError
from llmrec.evaluation.asking.words import (
    Noun,
    countries,
    filled,
    minutes,
    nouns,
    read_wordings,
    things,
    topics,
)
from llmrec.folders import write_whole
from llmrec.lexicon import Lexicon
from llmrec.options import script
from llmrec.questions import FILE, HEADS, STEM, TOPICS, features
from llmrec.softmax import Softmax, written_heads
from llmrec.titles import fold
from llmrec.training.softmax import fit, fit_temperature, matrix, scores_of
from llmrec.types import LANGUAGES, Item
from llmrec.wording import display_name

HERE = Path(__file__).resolve()
WORDINGS = HERE.with_name("questions")
DATA = HERE.parents[1] / "llmrec" / "data"
MESSAGES = (WORDINGS / "messages.tsv", HERE.parents[1] / "tests" / "questions.tsv")
THIS_YEAR = 2026  # fixed, so that the file does not change with the calendar
BUCKETS = 1 << 14
PENALTY = 0.1
VERSIONS = 3  # of each wording, the last of them as it is typed in a hurry
STRANGE = 0.2  # of the questions about two titles, those of which one is unknown
STEPS = 120  # of the optimiser

SHOPS = Item("p", "Quillon Varmast Trelk", price=1.0)  # of a catalogue of products
_SOLD = "price battery delivery dishwasher material warranty weight product".split()
_TOPIC_OF = {
    "filming": "filming place", "music": "soundtrack", "agerating": "age rating",
    "boxoffice": "box office", "producer": "studio",
}  # fmt: skip
_WAYS = (
    ("price", "max"), ("price", "min"), ("rating", "max"), ("runtime", "max"), ("runtime", "min"),
    ("year", "max"), ("year", "min"),
)  # fmt: skip
_SAME, _SHARED = ("directors", "year"), ("cast", "genres", "countries")
_KIND_OF = {"countries": "country", "languages": "language", "runtime": "length"}
_NARROWING = (
    "country", "decade", "director", "actor", "language", "longest", "shortest", "since", "until",
    "year",
)  # fmt: skip
_OF_ALL = re.compile(
    r"count|superlative|comparison|adj|sup|mod\b|(?:fact|follow)\.(?:year|runtime|price|rating)"
)
_AGREES, _SLOT = re.compile(r"(?<=\w)\{(?:os?)\}"), re.compile(r"\{\w+\}")
_NO_QUESTION = re.compile(r"(?:mods?|adj|sup|opener|turn)\b")

Label = tuple[str, str, str]
Wordings = Mapping[tuple[str, str], Sequence[str]]
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Example:
    """A question with what it asks for: form, field or topic, and direction.

    Attributes
    ----------
    file: what the wording stands in; held out together.
    sold: whether it is asked of products.
    """

    file: str
    language: str
    message: str
    label: Label
    sold: bool = False


# -- wordings with their slots filled -------------------------------------------------------------


class Filler:
    """Fills the slots of wordings with names and values of a catalogue."""

    def __init__(self, items: Sequence[Item], common: Wordings, seed: int = 0) -> None:
        self._items = items
        self._common = common  # words for "longer" and "from the 80s"
        self._dice = random.Random(seed)

    def example(self, file: str, key: str, language: str, wording: str) -> Example:
        """The wording as somebody may have written it. Raises InputError: an unknown slot."""
        noun = nouns()[self._dice.choice((*nouns(), "*film", "*film", "*product"))][language]
        mods, who = self._narrowed(language, noun)
        slots = {
            **noun.slots, "the": noun.the_many(language), "mods": mods,
            "t": "[t1]", "a": "[t1]", "b": "[t2]",
            "e": self._dice.choice(("“bus”", "the war", "dinero", "o menino", self._word())),
        }  # fmt: skip
        if self._dice.random() < STRANGE:
            slots[self._dice.choice("ab")] = self._strange(language)
        parts = key.removeprefix("follow.").split(".")
        label = ("count", who, "") if key == "count" else self._label(parts, language, noun, slots)
        try:
            message = filled(wording, slots)
        except KeyError as e:
            raise InputError(f"{file}, {key} {language}: {wording!r} has the slot {e}") from None
        sold = any(p in _SOLD for p in (*parts, label[1]))
        return Example(file, language, message, label, sold)

    def _label(
        self, parts: Sequence[str], language: str, noun: Noun, slots: dict[str, str]
    ) -> Label:
        """What a key asks for; what is drawn for it comes into the slots."""
        form, what, way = [*parts, "", ""][:3]
        if form == "check":
            if what == "topic":
                return form, _topic(way), ""
            slots["v"] = self._claimed(what, language)
            return form, what, way
        if form == "comparison" and what in ("same", "shared"):
            return "same", self._thing(what, way, language, slots), ""
        if form in ("comparison", "superlative"):
            field, way = [*parts[1 if form == "superlative" else 2 :], "", ""][:2]
            if not field:
                field, way = self._way(form, language, noun, slots)
            return form, field, way
        if form == "topic":
            topic = self._dice.choice([t for t in topics() if what in ("", t.key)])
            slots["topic"], slots["the"] = topic.names[language]
            return "open", _topic(topic.key), ""
        if form in ("text", "product"):
            return "open", "" if what == "subject" else "description", ""
        return "open", what if form == "fact" else form, ""

    def _thing(self, kind: str, field: str, language: str, slots: dict[str, str]) -> str:
        """What two items have in common."""
        field = field or self._dice.choice(_SAME if kind == "same" else _SHARED)
        gender, thing = things(field, language)
        the = {"en": "the", "pt": gender, "es": "el"}[language]
        slots |= {"thing": thing, "athing": thing, "o": gender, "the": the}
        return field

    def _word(self) -> str:
        return self._dice.choice(self._items).title.split()[-1]

    def _strange(self, language: str) -> str:
        """A title that no catalogue has."""
        of = {"en": "of", "pt": "de", "es": "del"}[language]
        return f"{self._word()} {of} {self._word()}"

    def _way(self, form: str, language: str, noun: Noun, slots: dict[str, str]) -> tuple[str, str]:
        kind = "sup" if form == "superlative" else "adj"
        field, way = self._dice.choice(_WAYS)
        words = self._common[f"{kind}.{field}.{way}", language]
        slots["adj"] = filled(self._dice.choice(words), noun.slots)
        return field, way

    def _claimed(self, field: str, language: str) -> str:
        """What a question of yes or no says of an item."""
        dice = self._dice
        item = dice.choice([i for i in self._items if i.cast and i.directors and i.genres])
        if field in ("cast", "directors"):
            return str(dice.choice(getattr(item, field)))
        if field == "genres":
            genre = nouns().get(dice.choice(item.genres), nouns()["Drama"])
            return genre[language].with_article(language)
        return self._value(_KIND_OF.get(field, field), language)

    def _value(self, kind: str, language: str) -> str:
        dice = self._dice
        if kind in ("actor", "director"):
            return self._claimed("cast" if kind == "actor" else "directors", language)
        if kind == "country":
            return dice.choice([names[language] for names in countries().values()])
        if kind == "language":
            tongue = dice.choice(("English", "French", "Spanish", "Portuguese", "Japanese"))
            name = display_name("language", tongue, language)
            return name if language == "en" else name.lower()
        if kind == "decade":
            return f"{dice.choice((50, 60, 70, 80, 90))}{'s' if language == 'en' else ''}"
        if kind == "length":
            return minutes(dice.choice((60, 80, 90, 100, 110, 120, 150, 180)), language)
        if kind in ("longest", "shortest", "price"):
            return str(dice.choice((20, 50, 80, 90, 100, 120, 150)))
        return str(dice.randint(1925, 2025))

    def _narrowed(self, language: str, noun: Noun) -> tuple[str, str]:
        """Words that narrow what is counted, and the field of a person in them."""
        told, who = [], ""
        for kind in self._dice.sample(_NARROWING, self._dice.choice((0, 1, 1, 2))):
            field = {"actor": "cast", "director": "directors"}.get(kind, "")
            if who and field:
                continue
            who = who or field
            slots = {**noun.slots, "v": self._value(kind, language)}
            told.append(filled(self._dice.choice(self._common[f"mod.{kind}", language]), slots))
        return " ".join(told), who


def _topic(key: str) -> str:
    return _TOPIC_OF.get(key, key)


def read_all(folder: Path) -> dict[str, Wordings]:
    """The wordings by file. Raises InputError: the folder holds none, or a line is misshapen."""
    files = [DATA / "questions" / "wordings-train.txt", *sorted(folder.glob("*.txt"))]
    if len(files) < 2:
        raise InputError(f"{folder} holds no wordings (*.txt): give the folder that does")
    return {file.stem: read_wordings(file) for file in files}


def make_examples(
    read: Mapping[str, Wordings], messages: Iterable[Path], items: Sequence[Item]
) -> list[Example]:
    """Everything to learn from. Raises InputError: a line is misshapen."""
    common: dict[tuple[str, str], list[str]] = {}
    for own in read.values():
        for key, wordings in own.items():
            if _NO_QUESTION.match(key[0]):
                common.setdefault(key, []).extend(wordings)
    filler = Filler(items, common)
    found = []
    for file, own in read.items():
        for (name, language), wordings in sorted(own.items()):
            for wording in () if _NO_QUESTION.match(name) else wordings:
                made = [filler.example(file, name, language, wording) for _ in range(VERSIONS)]
                found += [*made[:-1], _careless(made[-1])]
    for whole in messages:
        found += [e for e in _messages(whole) for _ in range(2)]
    return found


def stems(wordings: Iterable[Wordings]) -> dict[str, list[str]]:
    """The beginnings of the words that wordings are made of: of any, and of those about all."""
    found: dict[str, set[str]] = {"any": set(), "all": set()}
    for own in wordings:
        for (key, _), texts in own.items():
            if key.startswith(("mods", "opener", "turn", "text.subject")):
                continue
            plain = [_SLOT.sub(" ", _AGREES.sub(end, t)) for t in texts for end in "oae"]
            said = {w[:STEM] for t in plain for w in fold(t).split()}
            found["any"] |= said
            if _OF_ALL.match(key):
                found["all"] |= said
    return {which: sorted(words) for which, words in found.items()}


def _careless(e: Example) -> Example:
    """As it is typed in a hurry: no capitals, no accents, no marks at the end."""
    text = "".join(fold(c) or c if c.isalpha() else c for c in e.message.lower())
    text = " ".join(re.sub(r"[^\w\s,'\[\]]", "", text).split())
    return Example(e.file, e.language, text, e.label, e.sold)


def _messages(file: Path) -> Iterator[Example]:
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        try:
            *_, language, meant, message = line.split("\t")
            yield Example(file.stem, language, message, label_of(meant))
        except (ValueError, InputError) as e:
            raise InputError(f"{file}, line {number} is no question ({e})") from None


def label_of(meant: str) -> Label:
    """What ``kind:field or =topic:direction or same`` says. Raises InputError."""
    kind, what, way = [*meant.split(":"), "", ""][:3]
    form = "same" if way == "same" else {"fact": "open", "text": "open"}.get(kind, kind)
    if what.startswith("=") and what[1:] not in TOPICS:
        raise InputError(f"there is no topic {what[1:]!r}")
    if form in ("count", "list") and what not in ("directors", "cast"):
        what = ""  # what narrows them stands in the message
    return form, what.removeprefix("="), "" if form == "same" else way


# -- learning -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """What is learned from, a row for each example."""

    rows: Any  # scipy.sparse.csr_matrix [examples, BUCKETS]
    labels: Sequence[Label]


def make_table(examples: Sequence[Example], items: Sequence[Item]) -> Table:
    """The examples as features; one in ten as a shop would read it."""
    films, shop = (Lexicon(i, this_year=THIS_YEAR) for i in (iter(items), [SHOPS]))
    texts = []
    for n, e in enumerate(examples):
        lexicon = shop if e.sold or n % 10 == 0 else films
        texts.append(features(lexicon.mark(e.message), e.language))
    return Table(matrix(texts, BUCKETS), [e.label for e in examples])


def learn(table: Table, chosen: npt.NDArray[np.bool_]) -> dict[str, Softmax]:
    """A classifier for each part of what is asked, from the chosen rows."""
    out = {}
    for n, name in enumerate(HEADS):
        classes = sorted({label[n] for label in table.labels})
        targets = np.array([classes.index(label[n]) for label in table.labels])
        out[name] = fit(table.rows[chosen], targets[chosen], classes, penalty=PENALTY, most=STEPS)
    return out


def joint(heads: Mapping[str, Softmax], rows: Any, labels: Sequence[Label]) -> _Floats:
    """Log-probabilities of whole labels, [rows, labels], not normalised."""
    total = np.zeros((rows.shape[0], len(labels)))
    for n, name in enumerate(HEADS):
        scores = scores_of(heads[name], rows) / heads[name].temperature
        scores -= np.logaddexp.reduce(scores, 1, keepdims=True)
        total += scores[:, [heads[name].classes.index(label[n]) for label in labels]]
    return total


def right(said: Label, meant: Label) -> bool:
    """Whether a reading leads to the same answer; the direction of a check stands in its words."""
    same_way = said[2] == meant[2] or meant[0] == "check"
    alike = {said[0], meant[0]} == {"open", "check"} and said[1] == meant[1] in TOPICS
    return alike or (said[0] == meant[0] and said[1] == meant[1] and same_way)


def cross_validate(
    table: Table, examples: Sequence[Example], errors: int = 0
) -> tuple[dict[str, dict[str, float]], float]:
    """The share read rightly of each file by what was learned from the others, by language.

    Also the temperature that calibrates the probabilities of what was held out.
    """
    of_file = np.array([e.file for e in examples])
    labels = sorted(set(table.labels))
    places = np.array([labels.index(label) for label in table.labels])
    scores, targets = [], []
    shares: dict[str, dict[str, float]] = {}
    for file in sorted(set(of_file)):
        aside = of_file == file
        found = joint(learn(table, ~aside), table.rows[aside], labels)
        scores.append(found)
        targets.append(places[aside])
        held = [e for e in examples if e.file == file]
        said = [labels[i] for i in found.argmax(1)]
        good = np.array([right(s, e.label) for s, e in zip(said, held, strict=True)])
        own = np.array([e.language for e in held])
        there = [k for k in LANGUAGES if k in own]
        shares[file] = {k: round(float(good[own == k].mean()), 4) for k in there}
        wrong = [(s, e) for s, e, g in zip(said, held, good, strict=True) if not g]
        for s, e in wrong[:errors]:
            print(f"{file} {e.language} {':'.join(e.label)} read as {':'.join(s)}: {e.message}")
    return shares, fit_temperature(np.concatenate(scores), np.concatenate(targets))


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wordings", type=Path, default=WORDINGS, help="folder of the wordings")
    parser.add_argument("--out", type=Path, default=DATA, help="folder for the file")
    parser.add_argument("--errors", type=int, default=0, help="show so many errors of each file")
    parser.add_argument("--quick", action="store_true", help="learn without cross-validation")
    return parser


@script("questions", "nothing was written")
def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 when done, 1 if it cannot be done, 130 if it was interrupted."""
    args = make_parser().parse_args(argv)
    items = list(Catalog.embedded())
    wordings = read_all(args.wordings)
    examples = make_examples(wordings, MESSAGES, items)
    table = make_table(examples, items)
    shares: dict[str, dict[str, float]] = {}
    temperature = 1.0
    if not args.quick:
        shares, temperature = cross_validate(table, examples, args.errors)
    heads = learn(table, np.ones(len(examples), dtype=bool))
    for head in heads.values():
        head.temperature = temperature
    labels = sorted(set(table.labels))
    facts = {
        "labels": labels,
        "stems": stems(wordings.values()),
        "examples": len(examples),
        "held_out_accuracy": shares,
    }
    write_whole(args.out / FILE, written_heads(heads, facts))
    print(f"{args.out / FILE}: learned from {len(examples):,} examples, {len(labels)} labels")
    for file, share in shares.items():
        print(f"  {file:16s}  " + "  ".join(f"{k} {v:.3f}" for k, v in share.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
