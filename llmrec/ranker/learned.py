"""LearnedRanker hides how a ranking is learned from dialogues, kept as arrays, and explained."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llmrec._version import __version__
from llmrec.embedding import Embedding, Encoder
from llmrec.errors import InputError
from llmrec.folders import replacing
from llmrec.models.files import find_file
from llmrec.ranker.combiner import EPOCHS, PER_SIGNAL, Combiner, Listed, features_of, listed
from llmrec.ranker.meaning import Meaning, Texts
from llmrec.ranker.network import Network, NetworkOptions
from llmrec.ranker.repeats import Repeats
from llmrec.ranker.signals import Conversations, Facts, Named, Popular, Scores, Signal
from llmrec.ranker.sparse import Arrays
from llmrec.ranker.talk import Case, Talk, cases_of
from llmrec.ranker.words import Vocabulary, grams
from llmrec.types import Conversation, Example, Item

__all__ = ["FILES", "LearnedRanker", "Ranked"]

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

FILES = ("ranker.json", "ranker.safetensors")
FORMAT = 1
FOLDS = 5
CANDIDATES = 150  # the best of each signal are looked at by all the others
CELLS = 8_000_000  # of a dense signal at a time
LOGS = ("network",)
# Signals that say too little alone to bring in candidates of their own.
REFINING = ("alike in genre", "years", "opening", "given user's", "given assistant's")
GROUPS: Mapping[str, tuple[str, ...]] = {
    "popularity": ("popular", "opening"),
    "together": (
        "cosine", "given", "given user's", "given assistant's", "given last", "next", "ease",
    ),
    "conversations": (
        "like user", "words user", "like assistant", "words assistant", "like last", "words last",
    ),
    "facts": (
        "search", "search last", "alike", "alike in title", "alike in genre", "alike in people",
        "years",
    ),
    "network": ("network",),
    "meaning": ("means like", "means"),
}  # fmt: skip


@dataclass(frozen=True)
class Ranked:
    """Items for one conversation, best first.

    Attributes
    ----------
    rows: int32 [n], rows of ``LearnedRanker.ids``. logprobs: float32 [n], natural logarithms of
        probabilities, normalised over all candidates.
    """

    rows: Rows
    logprobs: Floats


class LearnedRanker:
    """Ranks a whole catalogue by signals that were fitted to dialogues, and a learned combination.

    Use ``LearnedRanker.fit`` or ``LearnedRanker.load``. The signals: popularity, co-occurrence
    (item-kNN, EASE), training conversations of like words, facts of the items, and a small
    network; ``GROUPS`` names them. What a language model thinks comes on top, in ``Recommender``.

    Attributes
    ----------
    ids: of the items it knows. facts: what it was learned from.
    model_share: how much a language model's opinion counts beside it: the weight of the
        log-probability of a title, standardised over the candidates. ``share_of`` finds it.
    """

    def __init__(
        self,
        ids: Sequence[str],
        signals: Mapping[str, Signal],
        combiner: Combiner,
        repeats: Repeats,
        facts: Mapping[str, Any] | None = None,
        model_share: float = 0.0,
    ) -> None:
        self.ids = tuple(ids)
        self.model_share = model_share
        self.facts = dict(facts or {})
        self._signals = dict(signals)
        self._combiner = combiner
        self._repeats = repeats

    @cached_property
    def fingerprint(self) -> str:
        """Tells one learned ranking from another: hexadecimal."""
        told = json.dumps([self.ids, self.facts, self.model_share], sort_keys=True)
        parts = [told.encode(), *(v.tobytes() for _, v in sorted(self._combiner.arrays().items()))]
        return hashlib.sha256(b"".join(parts)).hexdigest()[:16]

    def with_share(self, share: float, **facts: Any) -> LearnedRanker:
        """The same ranking beside a model whose opinion counts so much."""
        return LearnedRanker(
            self.ids, self._signals, self._combiner, self._repeats, {**self.facts, **facts}, share
        )

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of each id."""
        return {x: i for i, x in enumerate(self.ids)}

    @classmethod
    def fit(
        cls,
        examples: Iterable[Example],
        items: Iterable[Item],
        *,
        seed: int = 0,
        folds: int = FOLDS,
        without: Sequence[str] = (),
        encoder: str | Encoder | None = None,
        progress: bool = False,
    ) -> LearnedRanker:
        """Learn from dialogues.

        The combination is learned on signals that did not see the dialogue in question: they are
        fitted ``folds`` times, each time to the other dialogues.

        Parameters
        ----------
        examples: of training dialogues only. items: all that can be recommended.
        without: groups of signals to leave out.
        encoder: a sentence-transformers model by name or folder, for the signals of meaning; the
            ranker then needs it wherever it ranks (extra ``dense``). None: without them.

        Raises
        ------
        InputError: too few dialogues, an unknown group, or no new item was ever recommended.
        """
        if odd := [g for g in without if g not in GROUPS]:
            raise InputError(f"there is no signal {odd[0]!r}: use some of {', '.join(GROUPS)}")
        if set(without) >= set(GROUPS) - {"meaning"} and encoder is None:
            raise InputError(f"all signals are left out: keep one of {', '.join(GROUPS)}")
        known = list(items)
        ids = [i.id for i in known]
        row_of = {x: i for i, x in enumerate(ids)}
        cases = cases_of(list(examples), row_of)
        dialogues = list(dict.fromkeys(c.dialogue for c in cases))
        if folds < 2 or len(dialogues) < folds:
            raise InputError(
                f"{len(dialogues)} dialogues in {folds} folds: give at least 2 folds and a "
                "dialogue for each"
            )
        if not any(c.new and not c.said for c in cases):
            raise InputError("no example recommends an item of the catalogue: give such dialogues")
        fold = dict(
            zip(dialogues, np.random.default_rng(seed).permutation(len(dialogues)) % folds,
                strict=True)
        )  # fmt: skip
        texts = Texts(Embedding(encoder)) if encoder is not None else None
        networks = 0 if "network" in without else folds + 1
        with _bar(networks * NetworkOptions().epochs + EPOCHS, progress) as step:
            learn = _Learning(known, without, seed, texts, step)
            cut: list[Listed] = []
            held: list[Case] = []
            for f in range(folds):
                signals = learn.signals([c for c in cases if fold[c.dialogue] != f])
                asked = [c for c in cases if fold[c.dialogue] == f and not c.said]
                held += asked
                cut += _cut(signals, asked, len(ids), seed + f)
            if not any(c.right.any() for c in cut):
                raise InputError(
                    "none of the signals brings up what other dialogues recommend: give more "
                    "dialogues, or leave fewer signals out"
                )
            combiner = Combiner.fit(cut, seed=seed, step=step)
            utilities = [
                combiner(c.features.astype(np.float32), c.context) + c.stands_for for c in cut
            ]
            repeats = Repeats.fit(held, cut, utilities)
            signals = learn.signals(cases)
        facts = {
            "examples": sum(not c.said for c in cases),
            "dialogues": len(dialogues),
            "items": len(ids),
            "folds": folds,
            "seed": seed,
            "without": list(without),
            "encoder": texts.embedding.name if texts else None,
        }
        return cls(ids, signals, combiner, repeats, facts)

    # -- ranking ------------------------------------------------------------------------------

    def rank(
        self,
        conversations: Sequence[Conversation],
        k: int | None = None,
        *,
        repeat: bool = False,
        named: Sequence[Iterable[str]] | None = None,
    ) -> list[Ranked]:
        """The best items for each conversation.

        Parameters
        ----------
        k: how many at most; None for all candidates, which may be fewer than all items.
        repeat: whether items that were named already are ranked too.
        named: of each conversation, items its user named that its messages do not mark.
        """
        marks: Sequence[Iterable[str]] = named or [()] * len(conversations)
        talks = [Talk.of(c, self.row_of, m) for c, m in zip(conversations, marks, strict=True)]
        out = []
        for talk, (rows, values) in zip(talks, self._candidates(talks), strict=True):
            utility = self._combiner(features_of(values, self._logs), talk.context())
            if repeat and talk.named:
                again, extra = self._repeats(talk)
                rows, utility = np.concatenate([rows, again]), np.concatenate([utility, extra])
            utility = utility - utility.max(initial=-np.inf)
            logprobs = utility - np.log(np.exp(utility).sum() or 1.0)
            order = np.lexsort((rows, -logprobs))[:k]
            out.append(Ranked(rows[order], logprobs[order].astype(np.float32)))
        return out

    def reasons(
        self, conversation: Conversation, rows: Sequence[int], named: Iterable[str] = ()
    ) -> list[dict[str, float]]:
        """What each group of signals did for items.

        Returns
        -------
        For each of ``rows``, by group, how much lower its utility were if the group said of it
        what it says of an average candidate; empty for items that were no candidates.
        """
        talk = Talk.of(conversation, self.row_of, named)
        found, values = next(self._candidates([talk]))
        features, context = features_of(values, self._logs), talk.context()
        utility = self._combiner(features, context)
        at = {int(r): i for i, r in enumerate(found)}
        here = [at[r] for r in rows if r in at]
        average = features.mean(axis=0) if len(features) else features.sum(axis=0)
        parts: dict[str, Floats] = {}
        for group, names in GROUPS.items():
            columns = [i for i, n in enumerate(self._names) if n in names]
            if not columns or not here:
                continue
            without = features[here].reshape(len(here), -1, PER_SIGNAL)
            without[:, columns] = average.reshape(-1, PER_SIGNAL)[columns]
            rest = self._combiner(without.reshape(len(here), -1), context)
            parts[group] = utility[here] - rest
        order = {r: i for i, r in enumerate(r for r in rows if r in at)}
        return [
            {g: round(float(v[order[r]]), 3) for g, v in parts.items()} if r in order else {}
            for r in rows
        ]

    @cached_property
    def _names(self) -> list[str]:
        return _names(self._signals)

    @cached_property
    def _logs(self) -> list[int]:
        return _logs(self._signals)

    def _candidates(self, talks: Sequence[Talk]) -> Iterator[tuple[Rows, Floats]]:
        return _candidates(self._signals, talks, len(self.ids))

    # -- files --------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``FILES`` into a folder, whole or not at all; its other files stay."""
        from safetensors.numpy import save_file

        arrays: Arrays = {f"combiner/{k}": v for k, v in self._combiner.arrays().items()}
        arrays |= {f"repeats/{k}": v for k, v in self._repeats.arrays().items()}
        vocabularies = {}
        for name, signal in self._signals.items():
            arrays |= {f"{name}/{k}": v for k, v in signal.arrays().items()}
            if signal.vocabulary:
                vocabularies["facts" if name == "facts" else "said"] = signal.vocabulary.terms
        said = {
            "format": FORMAT,
            "llmrec": __version__,
            "signals": list(self._signals),
            "facts": self.facts,
            "model_share": self.model_share,
            "ids": self.ids,
            "vocabularies": vocabularies,
        }
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / ".ranker") as part:
            save_file(
                {k: np.ascontiguousarray(v) for k, v in arrays.items()},
                part / FILES[1],
                metadata={"fingerprint": self.fingerprint},
            )
            (part / FILES[0]).write_text(
                json.dumps(said, ensure_ascii=False) + "\n", encoding="utf-8"
            )
        for name in reversed(FILES):
            (folder / ".ranker" / name).replace(folder / name)
        (folder / ".ranker").rmdir()

    @classmethod
    def find(cls, place: str | os.PathLike[str], *, revision: str | None = None) -> LearnedRanker:
        """``load`` from a folder or a repository of the Hub. Raises InputError."""
        there = Path(place).is_dir() or "/" in str(place)  # a single word is nobody's repository
        files = [find_file(place, n, revision=revision) if there else None for n in FILES]
        if files[0] is None or files[1] is None:
            raise InputError(
                f"{str(place)!r} holds no ranker: give a folder or Hub repository with "
                f"{' and '.join(FILES)}, as train/ranker.py writes them"
            )
        return cls.load(files[0].parent)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, encoder: str | Encoder | None = None
    ) -> LearnedRanker:
        """Read what ``save`` wrote. Raises InputError.

        Parameters
        ----------
        encoder: where the sentence encoder is now, or itself, of a ranker that was learned with
            one; None: by the name it had.
        """
        from safetensors import SafetensorError, safe_open
        from safetensors.numpy import load_file

        folder = Path(path)
        try:
            said = json.loads((folder / FILES[0]).read_text(encoding="utf-8"))
            if said["format"] != FORMAT:
                raise InputError(
                    f"the ranker in {folder} has the format {said['format']!r}, and this version "
                    f"reads {FORMAT}: learn it anew with train/ranker.py"
                )
            with safe_open(folder / FILES[1], "np") as file:
                belongs = (file.metadata() or {}).get("fingerprint")
            made = cls._of(said, load_file(folder / FILES[1]), encoder)
            if belongs not in (None, made.fingerprint):
                raise InputError(
                    f"{' and '.join(FILES)} in {folder} are of two rankers: write them anew with "
                    "train/ranker.py"
                )
            return made
        except (OSError, ValueError, KeyError, TypeError, IndexError, SafetensorError) as e:
            if isinstance(e, InputError):
                raise
            raise InputError(
                f"{folder} holds no ranker that can be read ({type(e).__name__}: "
                f"{' '.join(str(e).split())[:120]}): give a folder that train/ranker.py wrote"
            ) from e

    @classmethod
    def _of(
        cls, said: Mapping[str, Any], arrays: Mapping[str, Any], encoder: str | Encoder | None
    ) -> LearnedRanker:
        def part(name: str) -> Arrays:
            head = f"{name}/"
            return {k[len(head) :]: v for k, v in arrays.items() if k.startswith(head)}

        words = {k: Vocabulary(v) for k, v in said["vocabularies"].items()}
        make: dict[str, Callable[[str], Signal]] = {
            "popularity": lambda n: Popular(part(n)),
            "together": lambda n: Named(part(n)),
            "conversations": lambda n: Conversations(words["said"], part(n)),
            "facts": lambda n: Facts(words["facts"], part(n)),
            "network": lambda n: Network(words["said"], part(n)),
            "meaning": lambda n: Meaning(
                Texts(Embedding(encoder or said["facts"]["encoder"])), part(n)
            ),
        }
        signals = {n: make[n](n) for n in said["signals"]}
        combiner, repeats = Combiner(part("combiner")), Repeats(part("repeats"))
        share = float(said["model_share"])
        return cls(said["ids"], signals, combiner, repeats, said["facts"], share)


class _Learning:
    """What stays the same while signals are fitted to one part of the dialogues after another."""

    def __init__(
        self,
        items: Sequence[Item],
        without: Sequence[str],
        seed: int,
        texts: Texts | None,
        step: Callable[[], None],
    ) -> None:
        self._items = items
        self._content = Facts.fit(items)
        self._reduced = self._content.reduced()
        self._without = without
        self._seed = seed
        self._texts = texts
        self._step = step

    def signals(self, cases: Sequence[Case]) -> dict[str, Signal]:
        said = [list(grams(turn)) for c in cases for turn in (*c.talk.user, *c.talk.assistant)]
        vocabulary, width = Vocabulary.of(said, 2), len(self._items)
        make: dict[str, Callable[[], Signal]] = {
            "popularity": lambda: Popular.fit(cases, width),
            "together": lambda: Named.fit(cases, width),
            "conversations": lambda: Conversations.fit(cases, width, vocabulary),
            "facts": lambda: self._content,
            "network": lambda: Network.fit(
                cases, vocabulary, self._reduced, seed=self._seed, step=self._step
            ),
        }
        if texts := self._texts:
            make["meaning"] = lambda: Meaning.fit(cases, self._items, texts)
        return {name: fit() for name, fit in make.items() if name not in self._without}


def _names(signals: Mapping[str, Signal]) -> list[str]:
    return [name for group in signals for name in GROUPS[group]]


def _logs(signals: Mapping[str, Signal]) -> list[int]:
    return [i for i, name in enumerate(_names(signals)) if name in LOGS]


def _candidates(
    signals: Mapping[str, Signal], talks: Sequence[Talk], width: int
) -> Iterator[tuple[Rows, Floats]]:
    """For each talk, candidates ascending, none that was named, and float32 [n, signals]."""
    names = _names(signals)
    size = max(1, CELLS // max(width, 1))
    for at in range(0, len(talks), size):
        part = talks[at : at + size]
        scores: Scores = {}
        for signal in signals.values():
            scores |= signal.scores(part)
        for i, talk in enumerate(part):
            yield _gathered([scores[n] for n in names], names, i, talk.rows, width)


def _gathered(
    scores: Sequence[Any], names: Sequence[str], i: int, named: Rows, width: int
) -> tuple[Rows, Floats]:
    lines = [_line(s, i) for s in scores]
    chosen = []
    for name, (rows, values) in zip(names, lines, strict=True):
        if name in REFINING:
            continue
        n = CANDIDATES + len(named)
        if len(values) > n:
            at = np.argpartition(-values, n - 1)[:n]
            rows, values = (at if rows is None else rows[at]), values[at]
        elif rows is None:
            rows = np.arange(len(values))
        chosen.append(rows if name in LOGS else rows[values > 0])
    found = np.setdiff1d(np.concatenate(chosen), named).astype(np.int32)
    out = np.zeros((len(found), len(scores)), dtype=np.float32)
    scratch = np.zeros(width, dtype=np.float32)
    for c, (rows, values) in enumerate(lines):
        if rows is None:
            out[:, c] = values[found]
        else:
            scratch[rows] = values
            out[:, c] = scratch[found]
            scratch[rows] = 0
    return found, out


def _line(scores: Any, i: int) -> tuple[npt.NDArray[np.integer[Any]] | None, Floats]:
    """A signal's scores in one conversation: rows and values; no rows where all are given."""
    if isinstance(scores, np.ndarray):
        return None, scores if scores.ndim == 1 else scores[i]
    a, b = scores.indptr[i], scores.indptr[i + 1]
    return scores.indices[a:b], scores.data[a:b]


def _cut(
    signals: Mapping[str, Signal], cases: Sequence[Case], width: int, seed: int
) -> Iterator[Listed]:
    """The cases as the combination learns from them."""
    logs, rng = _logs(signals), np.random.default_rng(seed)
    found = _candidates(signals, [c.talk for c in cases], width)
    for case, (rows, values) in zip(cases, found, strict=True):
        yield listed(values, case.talk.context(), np.isin(rows, case.new), logs, rng)


@contextmanager
def _bar(steps: int, show: bool) -> Iterator[Callable[[], None]]:
    """A progress bar over steps; gives what counts one."""
    from tqdm import tqdm

    with tqdm(total=steps, desc="learning", unit="pass", disable=not show) as bar:

        def step() -> None:
            bar.update()

        yield step
