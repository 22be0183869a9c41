"""Learn what tells English, Portuguese and Spanish apart, and write the weights into llmrec/data.

    python train/languages.py
    python train/languages.py --out runs/languages --errors 20

Learned from are the messages eval/messages/routes-train-*.jsonl and dev*-*.jsonl, descriptions and
names of the embedded catalogue, and the words and wordings in llmrec/data. Names of every language
are mixed in. Cross-validation holds out whole groups of messages that share an idea, in all
languages at once. The same texts give the same file, byte for byte.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llmrec.catalog import Catalog
from llmrec.errors import InputError
from llmrec.folders import write_whole
from llmrec.languages import BUCKETS, FILE, buckets, tokens
from llmrec.lexicon import terms
from llmrec.options import script
from llmrec.titles import fold
from llmrec.types import LANGUAGES, Item

ROOT = Path(__file__).resolve().parents[1]
MESSAGES = ROOT / "eval" / "messages"
DATA = ROOT / "llmrec" / "data"
PENALTY = 0.5
FOLDS = 5
KEPT = 0.99  # share of held-out messages that must not be taken for another language
WORD_WEIGHT = 0.03  # of a word or cue of a table; a message weighs 1
PIECE_WEIGHT = 0.06  # of a description or a few words of it
NAME_WEIGHT = 0.1  # of a bare name
_NAMES = ("t", "v", "a", "b", "title", "person", "unknown")
_SLOT = re.compile(r"\{(\w+)[^}]*\}")

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Text:
    """A text in a language.

    Attributes
    ----------
    group: of a message, what it shares an idea with; empty for a text that is always learned.
    names: the names in it, word for word.
    told: whether it is the last message of a user, which is what is measured.
    """

    text: str
    language: str
    weight: float = 1.0
    group: str = ""
    names: tuple[str, ...] = ()
    told: bool = False


# -- reading --------------------------------------------------------------------------------------


def read_messages(folder: Path) -> list[Text]:
    """What was said in conversations. Raises InputError: a file is absent or a line misshapen."""
    found: list[Text] = []
    for language in LANGUAGES:
        for file in [
            folder / f"routes-train-{language}.jsonl",
            *sorted(folder.glob(f"dev*-{language}.jsonl")),
        ]:
            if not file.exists():
                raise InputError(f"{file} is absent: give the folder of the messages")
            for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
                try:
                    found += _messages(json.loads(line), language)
                except (ValueError, KeyError, TypeError, IndexError, AttributeError) as e:
                    raise InputError(f"{file}, line {number} is no message ({e!r})") from None
    return found


def _messages(row: Mapping[str, Any], language: str) -> list[Text]:
    group = row.get("group") or f"wishes-{row['id'].rpartition('-')[2]}"
    *before, last = (m["content"] for m in row["messages"])
    told = Text(last, language, 1.0, group, tuple(row.get("names", ())), told=True)
    return [*(Text(said, language, 0.5, group) for said in before), told]


def read_tables(folder: Path) -> Iterator[Text]:
    """The words of the lexicon, the cues of questions, and wordings with places for names."""
    for term in terms():
        yield from (Text(form, term.language, WORD_WEIGHT) for form in term.words)
    for line in _lines(folder / "questions.tsv"):
        _, _, language, cues = line.split("\t")
        yield from (Text(cue, language, WORD_WEIGHT) for cue in _spelt_out(cues))
    for language in LANGUAGES:
        for line in _lines(folder / "phrasings" / f"{language}.tsv"):
            yield Text(line.partition("\t")[2], language, 0.5)
    for name in ("wordings-train.txt", "answers.txt"):
        language = ""
        for line in _lines(folder / "questions" / name):
            if line.startswith("="):
                language = line.rpartition(" ")[2]
            else:
                yield Text(line, language)


def _lines(file: Path) -> list[str]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def _spelt_out(cues: str) -> Iterator[str]:
    """Cues as words: of alternatives the first, and the last; without what stands for others."""
    for cue in cues.split(";"):
        for end in (0, -1):
            chosen = (w.split("/")[end].strip("!?=$*.") for w in cue.split())
            yield " ".join(w for w in chosen if not w.isupper())


def read_names(items: Iterable[Item]) -> dict[str, list[str]]:
    """Titles by language, and under ``""`` the names that are the same in every language."""
    found: dict[str, dict[str, None]] = {language: {} for language in ("", *LANGUAGES)}
    for item in items:
        found["en"][item.title] = None
        found[""] |= dict.fromkeys([item.original_title or item.title, *item.people])
        for language, titles in item.titles.items():
            found[language] |= dict.fromkeys(titles)
    return {language: list(names) for language, names in found.items()}


# -- versions of a text ---------------------------------------------------------------------------


class Writer:
    """Writes texts as others would: with other names in them, and in a hurry."""

    def __init__(self, names: Mapping[str, Sequence[str]]) -> None:
        self._names = names

    def versions(self, text: Text) -> Iterator[Text]:
        """The text, then others like it."""
        rng = random.Random(text.text)
        written = [text]
        if _SLOT.search(text.text):
            written = [self._filled(text, rng), self._filled(text, rng)]
        elif text.names:
            written.append(self._renamed(text, rng))
        for i, one in enumerate(written):
            first = replace(one, weight=text.weight / len(written), told=text.told and i == 0)
            yield first
            if text.weight >= 0.5:
                hasty = careless(one.text)
                yield replace(first, text=hasty, weight=first.weight / 2, told=False)

    def _name(self, language: str, rng: random.Random) -> str:
        """A name as it may stand in a message: most are English or of the message's language."""
        of = rng.choices(("", "en", language, *LANGUAGES), (2, 4, 4, 1, 1, 1))[0]
        return rng.choice(self._names[of])

    def _filled(self, text: Text, rng: random.Random) -> Text:
        def fill(slot: re.Match[str]) -> str:
            return self._name(text.language, rng) if slot[1] in _NAMES else ""

        return replace(text, text=_SLOT.sub(fill, text.text))

    def _renamed(self, text: Text, rng: random.Random) -> Text:
        said = text.text
        for name in text.names:
            said = said.replace(name, self._name(text.language, rng), 1)
        return replace(text, text=said)


def careless(text: str) -> str:
    """As it is typed in a hurry: no capitals, no accents, no marks."""
    plain = "".join(fold(c) or c if c.isalpha() else c for c in text.lower())
    return re.sub(r"\s+", " ", re.sub(r"[^\w\s,']", "", plain)).strip()


def pieces(items: Iterable[Item]) -> Iterator[Text]:
    """Descriptions, whole and in runs of a few words."""
    for item in items:
        rng = random.Random(item.id)
        for language, said in item.descriptions.items():
            yield Text(said, language, PIECE_WEIGHT)
            ws = said.lower().split()
            for _ in range(2):
                n = rng.randint(2, 6)
                at = rng.randrange(max(1, len(ws) - n))
                yield Text(" ".join(ws[at : at + n]), language, PIECE_WEIGHT)


def bare(names: Mapping[str, Sequence[str]]) -> Iterator[Text]:
    """Names with nothing else: English and original ones are met alike in every language."""
    for of, own in names.items():
        for language in LANGUAGES:
            likely = 1.0 if of in ("", "en") else 2.0 if language == of else 0.3
            for name in own:
                yield Text(name, language, NAME_WEIGHT * likely)
                yield Text(careless(name), language, NAME_WEIGHT * likely)


def read_texts(folder: Path) -> list[Text]:
    """Everything to learn from, in all its versions."""
    items = list(Catalog.embedded())
    names = read_names(items)
    writer = Writer(names)
    written = [*read_messages(folder), *read_tables(DATA), *pieces(items)]
    return [*(v for text in written for v in writer.versions(text)), *bare(names)]


# -- learning -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """What is learned from: how often each text reads each row of the weights."""

    rows: Any  # scipy.sparse.csr_matrix [texts, BUCKETS]
    languages: npt.NDArray[np.int64]
    weights: _Floats

    def part(self, chosen: npt.NDArray[np.bool_]) -> Table:
        """The chosen texts."""
        return Table(self.rows[chosen], self.languages[chosen], self.weights[chosen])


def make_table(texts: Sequence[Text]) -> Table:
    """The texts as features."""
    from scipy.sparse import csr_matrix

    read = lru_cache(maxsize=None)(buckets)
    at: list[int] = []
    ends = [0]
    for text in texts:
        for word, place in tokens(text.text):
            at += read(word, place)
        ends.append(len(at))
    rows = csr_matrix((np.ones(len(at)), np.array(at, np.int32), ends), (len(texts), BUCKETS))
    rows.sum_duplicates()
    languages = np.array([LANGUAGES.index(text.language) for text in texts])
    return Table(rows, languages, np.array([text.weight for text in texts]))


def fit(table: Table) -> _Floats:
    """Weights [buckets, languages] of the likeliest softmax, each language as heavy."""
    from scipy.optimize import minimize

    n = len(LANGUAGES)
    mass = np.bincount(table.languages, table.weights, minlength=n)
    weights = table.weights / mass[table.languages] * mass.sum() / n
    target = np.eye(n)[table.languages]

    def loss(flat: _Floats) -> tuple[float, _Floats]:
        own = flat.reshape(-1, n)
        scores = table.rows @ own
        scores -= scores.max(1, keepdims=True)
        logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
        value = -(weights[:, None] * target * logs).sum() + PENALTY * (own**2).sum() / 2
        off = weights[:, None] * (np.exp(logs) - target)
        return float(value), (table.rows.T @ off + PENALTY * own).ravel()

    start = np.zeros(BUCKETS * n)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 100})
    return np.asarray(found.x.reshape(-1, n))


def rounded(weights: _Floats) -> tuple[npt.NDArray[np.int8], float]:
    """The weights as steps of one byte each, and the size of a step."""
    scale = float(np.float32(max(np.abs(weights).max(), 1e-9) / 127))
    return np.rint(weights / scale).astype(np.int8), scale


def cross_validate(table: Table, texts: Sequence[Text], folds: int = FOLDS) -> _Floats:
    """The scores of each told message, by weights that saw none of its group; others stay 0."""
    groups = sorted({t.group for t in texts} - {""})
    random.Random(0).shuffle(groups)
    fold_of = {group: i % folds for i, group in enumerate(groups)}
    folded = np.array([fold_of.get(t.group, folds) for t in texts])
    told = np.array([t.told for t in texts])
    scores = np.zeros((len(texts), len(LANGUAGES)))
    for held in range(folds):
        steps, scale = rounded(fit(table.part(folded != held)))
        met = told & (folded == held)
        scores[met] = table.rows[met] @ steps * scale
    return scores


def find_margin(scores: _Floats, languages: npt.NDArray[np.int64], kept: float = KEPT) -> float:
    """What another language must be likelier by so that a share ``kept`` keeps its own."""
    behind = scores.max(1) - scores[np.arange(len(scores)), languages]
    return float(np.ceil(10 * np.quantile(behind, kept, method="higher")) / 10)


def measure(
    scores: _Floats, languages: npt.NDArray[np.int64], margin: float
) -> dict[str, tuple[float, float]]:
    """By language the shares of messages that keep it, and that win it from another default."""
    own = scores[np.arange(len(scores)), languages]
    ahead = own[:, None] - scores > margin
    ahead &= (own == scores.max(1))[:, None]
    figures = {}
    for i, language in enumerate(LANGUAGES):
        mine = languages == i
        others = [j for j in range(len(LANGUAGES)) if j != i]
        keeps = scores[mine].max(1) - own[mine] <= margin
        figures[language] = (float(keeps.mean()), float(ahead[mine][:, others].mean()))
    return figures


def save(weights: _Floats, margin: float, folder: Path) -> None:
    """Write ``FILE`` into a folder, whole or not at all."""
    from safetensors.numpy import save as as_bytes

    steps, scale = rounded(weights)
    numbers = {"scale": np.array([scale], np.float32), "margin": np.array([margin], np.float32)}
    write_whole(folder / FILE, as_bytes({"weights": steps, **numbers}))


def learn(texts: Sequence[Text], errors: int = 0) -> tuple[_Floats, float]:
    """Cross-validate, say how it went, and learn from everything: the weights and the margin."""
    table = make_table(texts)
    told = np.array([t.told for t in texts])
    scores, languages = cross_validate(table, texts)[told], table.languages[told]
    margin = find_margin(scores, languages)
    print(f"{len(texts):,} texts, {told.sum():,} held-out messages; margin {margin:.1f}")
    print("language  keep it if it is the default  win it from another default")
    for language, (keeps, wins) in measure(scores, languages, margin).items():
        print(f"{language}  {keeps:.3f}  {wins:.3f}")
    wrong = np.flatnonzero(scores.argmax(1) != languages)
    met = [t for t in texts if t.told]
    for i in wrong[:errors]:
        guess = LANGUAGES[int(scores[i].argmax())]
        print(f"{met[i].language} taken for {guess}: {met[i].text}  {scores[i].round(1)}")
    return fit(table), margin


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=Path, default=MESSAGES, help="folder of the messages")
    parser.add_argument("--out", type=Path, default=DATA, help="folder for the file")
    parser.add_argument("--errors", type=int, default=0, help="show so many held-out errors")
    return parser


@script("languages", "nothing was written")
def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 when done, 1 if it cannot be done, 130 if it was interrupted."""
    args = make_parser().parse_args(argv)
    save(*learn(read_texts(args.messages), args.errors), args.out)
    print(f"{args.out / FILE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
