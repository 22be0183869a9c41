"""Measure understanding and constraint satisfaction on the held-out messages.

    python eval/understanding.py
    python eval/understanding.py --part dev --errors 20

Slots are scored as (slot, value) pairs, micro-averaged. The files dev*.jsonl and the first DEV
phrasings of each language were looked at while the rules were written; the others never. Real
messages (kind "redial") are annotated by their place in ReDial and read from there if it is found.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llmrec.catalog import Catalog
from llmrec.metrics.slots import f1_interval, pairs, score_slots
from llmrec.preferences import Lead
from llmrec.recommender import Recommender
from llmrec.titles import fold
from llmrec.types import Conversation, Message, Preferences
from llmrec.wishes import meets_all, wishes

FOLDER = Path(__file__).parent / "messages"
REDIAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "redial"
KINDS = ("phrasing", "natural", "redial")
DEV = 90  # phrasings 001 to 090
LANGUAGES = ("en", "pt", "es")
LEADS: tuple[Lead, ...] = ("rules-only", "model-only", "rules", "model")
TITLE_SLOTS = ("similar_to", "likes", "dislikes", "seen")


@dataclass(frozen=True)
class Case:
    """A held-out conversation and what a perfect listener understands."""

    id: str
    kind: str
    language: str
    conversation: Conversation
    gold: Preferences


class Labels:
    """Ids of the catalogue by "Title (year)"."""

    def __init__(self, catalog: Catalog) -> None:
        self._ids = {(fold(i.title), i.year): i.id for i in catalog}

    def id(self, label: str) -> str:
        """The id of a label; the label itself where the catalogue has no such film."""
        title, _, year = label.rpartition(" (")
        number = year.rstrip(")")
        return self._ids.get((fold(title), int(number) if number.isdigit() else None), label)


# Two words of one wish: what some write as a theme is a genre of the catalogue.
SAME_WISH = {"funny": "Comedy", "romantic": "Romance", "kids": "Family", "scary": "Horror"}


def normal(preferences: Preferences) -> Preferences:
    """One spelling for wishes that have two."""
    changes: dict[str, Any] = {}
    for themes, genres in (("keywords", "genres"), ("keywords_out", "genres_out")):
        values = getattr(preferences, themes)
        moved = tuple(SAME_WISH[v] for v in values if v in SAME_WISH)
        changes[themes] = tuple(v for v in values if v not in SAME_WISH)
        changes[genres] = getattr(preferences, genres) + moved
    return dataclasses.replace(preferences, **changes)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


def read_cases(catalog: Catalog, part: str) -> Iterator[Case]:
    """The cases of a part: "test" or "dev"."""
    labels = Labels(catalog)
    for language in LANGUAGES:
        rows = list(_lines(FOLDER / f"{language}.jsonl"))
        early = [r["kind"] == "phrasing" and int(r["id"][-3:]) <= DEV for r in rows]
        chosen = [r for r, dev in zip(rows, early, strict=True) if dev == (part == "dev")]
        if part == "dev":
            for name in ("dev", "dev2", "dev3", "dev4"):
                chosen += _lines(FOLDER / f"{name}-{language}.jsonl")
        for row in chosen:
            messages = [
                Message(m["role"], m["content"], tuple(labels.id(i) for i in m.get("items", ())))
                for m in row["messages"]
            ]
            gold = {
                k: [labels.id(t) for t in v] if k in TITLE_SLOTS else v
                for k, v in row["gold"].items()
            }
            yield Case(
                row["id"],
                row["kind"],
                language,
                Conversation(tuple(messages)),
                Preferences.from_dict(gold),
            )


def read_redial(catalog: Catalog, folder: Path) -> list[Case]:
    """The annotated real messages; none, and a line saying so, where the data is absent."""
    source = folder / "train_partial.jsonl"
    if not source.exists():
        print(f"no real messages: {source} is absent", file=sys.stderr)
        return []
    wanted = {row["conversation"]: row for row in _lines(FOLDER / "redial.jsonl")}
    labels = Labels(catalog)
    cases = []
    for record in _lines(source):
        row = wanted.get(record["conversationId"])
        if row is None:
            continue
        mentions = dict(record["movieMentions"] or {})
        films = {k: " ".join(v.split()) for k, v in mentions.items() if v}
        messages = []
        for m in record["messages"][: row["messages"]]:
            user = m["senderWorkerId"] == record["initiatorWorkerId"]
            ids = [labels.id(films[i]) for i in re.findall(r"@(\d+)", m["text"]) if i in films]
            text = m["text"]
            for number, film in films.items():
                text = text.replace(f"@{number}", film)
            shown = () if user else tuple(i for i in ids if i in catalog)
            messages.append(Message("user" if user else "assistant", text, shown))
        gold = {
            k: [labels.id(t) for t in v] if k in TITLE_SLOTS else v for k, v in row["gold"].items()
        }
        conversation = Conversation(tuple(messages))
        cases.append(Case(row["id"], "redial", "en", conversation, Preferences.from_dict(gold)))
    return cases


def understanding_table(
    recommender: Recommender, cases: Sequence[Case], leads: Sequence[Lead]
) -> tuple[list[dict[str, Any]], dict[Lead, list[Preferences]]]:
    """A row per kind, language and lead, and the predictions."""
    from llmrec.preferences import Understander

    rows = []
    predictions: dict[Lead, list[Preferences]] = {}
    base = recommender.understander
    for lead in leads:
        step = Understander(
            base.lexicon, recommender.catalog.get, recommender.model, lead=lead, detail=base.detail
        )
        predictions[lead] = [
            u.preferences for u in step.understand([c.conversation for c in cases])
        ]
        for kind in KINDS:
            for language in (*LANGUAGES, "all"):
                chosen = [
                    (normal(c.gold), normal(p))
                    for c, p in zip(cases, predictions[lead], strict=True)
                    if c.kind == kind and language in (c.language, "all")
                ]
                if not chosen:
                    continue
                total, _ = score_slots(chosen)
                rows.append(
                    {"kind": kind, "language": language, "lead": lead, "n": total.n,
                     "precision": round(total.precision, 3), "recall": round(total.recall, 3),
                     "f1": round(total.f1, 3), "exact": round(total.exact / max(total.n, 1), 3),
                     "interval": [round(x, 3) for x in f1_interval(chosen)]}
                )  # fmt: skip
    return rows, predictions


def satisfaction(recommender: Recommender, cases: Sequence[Case], k: int = 5) -> dict[str, Any]:
    """Share of the returned films that meet every gold wish, and requests wrongly left empty.

    Counted over the conversations whose gold wishes some film of the catalogue meets.
    """
    catalog = recommender.catalog
    answerable = []
    for c in cases:
        gold = wishes(c.gold)
        shown = {
            *c.conversation.mentioned,
            *c.gold.seen,
            *c.gold.dislikes,
            *c.gold.likes,
            *c.gold.similar_to,
        }
        if gold and catalog.filter(c.gold, exclude=tuple(sorted(shown & set(catalog.ids)))).size:
            answerable.append(c)
    lists = recommender.recommend([c.conversation for c in answerable], k=k)
    counts = np.array(
        [
            (sum(meets_all(r.item, wishes(c.gold)) for r in found), len(found), not found)
            for c, found in zip(answerable, lists, strict=True)
        ],
        dtype=float,
    ).reshape(-1, 3)
    good, returned, empty = (float(x) for x in counts.sum(0))
    drawn = np.random.default_rng(0).integers(len(counts), size=(2000, len(counts)))
    resampled = counts[drawn].sum(1)
    shares = resampled[:, 0] / np.maximum(resampled[:, 1], 1)
    return {
        "requests": len(answerable),
        "returned": int(returned),
        "satisfied": round(good / max(returned, 1), 4),
        "interval": [round(float(x), 4) for x in np.quantile(shares, (0.025, 0.975))],
        "empty": int(empty),
        "empty_share": round(empty / max(len(answerable), 1), 4),
    }


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="Hub id or folder; the embedded model if not given")
    parser.add_argument("--part", choices=("test", "dev"), default="test")
    parser.add_argument("--redial", type=Path, default=REDIAL, help="folder of the ReDial files")
    parser.add_argument("--leads", nargs="+", choices=LEADS, default=list(LEADS))
    parser.add_argument("--errors", type=int, default=0, help="show so many differences")
    parser.add_argument("--kind", choices=("phrasing", "natural"), help="of the differences shown")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 when done."""
    args = make_parser().parse_args(argv)
    recommender = Recommender.from_pretrained(args.model)
    cases = list(read_cases(recommender.catalog, args.part))
    if args.part == "test":
        cases += read_redial(recommender.catalog, args.redial)
    rows, predictions = understanding_table(recommender, cases, args.leads)
    print(f"{'kind':9} {'lang':4} {'lead':11} {'n':>4}  P     R     F1    95 % of F1    exact")
    for r in rows:
        print(f"{r['kind']:9} {r['language']:4} {r['lead']:11} {r['n']:4}  "
              f"{r['precision']:.3f} {r['recall']:.3f} {r['f1']:.3f} "
              f"{r['interval'][0]:.3f}-{r['interval'][1]:.3f}   {r['exact']:.3f}")  # fmt: skip
    shown = 0
    for c, p in zip(cases, predictions[args.leads[-1]], strict=True):
        g, h = pairs(normal(c.gold)), pairs(normal(p))
        if g != h and shown < args.errors and args.kind in (None, c.kind):
            shown += 1
            print(f"\n{c.id} " + " || ".join(m.content for m in c.conversation.messages))
            print("  missed", sorted(g - h), "\n  wrong ", sorted(h - g))
    met = {}
    for kind in KINDS:
        for language in (*LANGUAGES, "all"):
            own = [c for c in cases if c.kind == kind and language in (c.language, "all")]
            if own:
                met[f"{kind} {language}"] = satisfaction(recommender, own)
                print(f"{kind} {language}", met[f"{kind} {language}"])
    if args.json:
        args.json.write_text(
            json.dumps({"understanding": rows, "satisfaction": met}, indent=1) + "\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
