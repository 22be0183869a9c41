"""Card hides how the card of prepared data is written from what was recorded, and is never code.

Titles, licences and reasons come from data sets of others: in the YAML they are dumped, in the
text they are escaped, so that none of them can become markup.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llmrec.datasets.base import BROKEN
from llmrec.datasets.rows import TABLES, columns
from llmrec.markdown import ADDRESS, block, license_of, line, table, text

__all__ = ["dataset_card"]

_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"),
          (10**7, "1M<n<10M"), (10**8, "10M<n<100M"), (10**9, "100M<n<1B"))  # fmt: skip
_WHAT = {
    "examples": "cases for training and evaluation: a conversation up to a point, the ids of the "
    "items that a good answer holds, and what the human said",
    "items": "what can be recommended, with what is known of it",
}


def dataset_card(meta: Mapping[str, Any]) -> str:
    """The card, YAML and Markdown, of a folder of prepared data.

    Parameters
    ----------
    meta: what ``prepare.json`` says.
    """
    import yaml  # type: ignore[import-untyped]

    front = yaml.safe_dump(_front(meta), sort_keys=False, allow_unicode=True, width=1_000)
    parts = [
        f"---\n{front}---",
        *_head(meta),
        *_contents(meta),
        *_facts(meta),
        *_left_out(meta),
        *_made(meta),
        *_loading(meta),
        *_limits(meta),
    ]
    return "\n\n".join(parts) + "\n"


def _front(meta: Mapping[str, Any]) -> dict[str, Any]:
    source, tables = meta["source"], meta["tables"]
    rows = {t: sum(s["kept"] for s in splits.values()) for t, splits in tables.items()}
    n = rows.get("examples") or rows.get("items", 0)
    license, license_name = license_of(source["license"])
    front: dict[str, Any] = {"pretty_name": line(source["title"]), "license": license}
    if facts := meta["config"].get("facts"):
        others = [license_of(origin["license"])[0] for origin in facts]
        front["license"] = list(dict.fromkeys([license, *others]))
    elif license_name:
        front["license_name"] = license_name
    if meta["languages"]:
        front["language"] = list(meta["languages"])
    front["size_categories"] = [next((name for top, name in _SIZES if n < top), "n>1T")]
    if rows.get("examples"):
        front["task_categories"] = ["text-generation"]
    front["tags"] = ["llmrec", "recommendation"]
    format = meta["config"]["format"]
    full = [table for table in TABLES if rows.get(table)]
    if format != "csv":  # there lists are texts, and columns without a value have no type
        front["dataset_info"] = [
            {"config_name": table, "features": _features(columns(table))} for table in full
        ]
    front["configs"] = [
        {
            "config_name": table,
            **({"default": True} if table == full[0] else {}),
            "data_files": [
                {"split": split, "path": _files(table, split, len(said["files"]), format)}
                for split, said in tables[table].items()
                if said["files"]
            ],
        }
        for table in full
    ]
    return front


def _files(table: str, split: str, n: int, format: str) -> list[str]:
    return [f"{table}/{split}-{i:05d}-of-{n:05d}.{format}" for i in range(n)]


def _features(kinds: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Columns as the Hub writes the features of a data set."""
    made = []
    for name, kind in kinds.items():
        if not isinstance(kind, list):
            made.append({"name": name, "dtype": kind})
        else:
            inner = _features(kind[0]) if isinstance(kind[0], dict) else kind[0]
            made.append({"name": name, "list": inner})
    return made


def _head(meta: Mapping[str, Any]) -> list[str]:
    source = meta["source"]
    homepage = line(source["homepage"])
    where = f"<{homepage}>" if ADDRESS.fullmatch(homepage) else text(homepage or "not stated")
    facts = [f"- Source: {where}", f"- Licence of the source: {text(source['license'])}"]
    added = "Nothing was added to them."
    if meta["config"].get("facts"):
        added = "Facts about the items were added, see below where they come from."
    citation = source["citation"].strip()
    return [
        f"# {text(source['title'])}, prepared",
        f"The data of {text(source['title'])} in the form that llmrec reads, prepared with llmrec "
        f"{text(meta['llmrec'])}. {added}",
        "\n".join(facts),
        *(["Whoever uses the data cites:", block(citation)] if citation else []),
    ]


def _contents(meta: Mapping[str, Any]) -> list[str]:
    rows = [
        (table, split, f"{said['kept']:,}", str(len(said["files"])))
        for table, splits in meta["tables"].items()
        for split, said in splits.items()
    ]
    what = [f"- `{table}`: {_WHAT[table]}." for table in TABLES if table in meta["tables"]]
    columns_of = [
        f"- `{table}`: {', '.join(f'`{name}`' for name in columns(table))}."
        for table in TABLES
        if table in meta["tables"]
    ]
    return [
        "## What is in it",
        "\n".join(what),
        _cells(("table", "split", "rows", "files"), rows),
        "Columns:",
        "\n".join(columns_of),
    ]


def _facts(meta: Mapping[str, Any]) -> list[str]:
    origins = meta["config"].get("facts")
    if not origins:
        return []
    parts = [
        "## Facts from elsewhere",
        "What the data do not say of an item was taken from these tables, the first that has it "
        "winning field by field. Each has a licence of its own, which holds for what came from it:",
        _cells(
            ("facts", "of", "licence, as stated"),
            ((o["name"], o.get("source", ""), o["license"]) for o in origins),
        ),
    ]
    for split, said in meta["tables"].get("items", {}).items():
        joined = said.get("facts")
        if not joined:
            continue
        rows = [
            (o["name"], how, f"{n:,}")
            for o, found in zip(origins, joined["found"], strict=True)
            for how, n in found.items()
            if n
        ]
        fields = [(name, *(f"{n:,}" for n in ns)) for name, ns in joined["fields"].items()]
        parts += [
            f"How the {said['kept']:,} items of `{split}` were found there:",
            _cells(("facts", "by", "items"), rows),
            "How many of them have a field, of their own and with the facts:",
            _cells(("field", "own", "now"), fields),
        ]
    return parts


def _left_out(meta: Mapping[str, Any]) -> list[str]:
    rows = [
        (table, split, why, f"{n:,}")
        for table, splits in meta["tables"].items()
        for split, said in splits.items()
        for why, n in sorted(said["dropped"].items())
    ]
    if not rows:
        return ["## What was left out", "Nothing."]
    broken = sum(
        said["dropped"].get(BROKEN, 0)
        for splits in meta["tables"].values()
        for said in splits.values()
    )
    said = [
        f"Counted for each reading of the files: {broken:,} records could not be read; "
        "`problems.jsonl` tells of the first ones, with file and line."
    ]
    counts = _cells(("table", "split", "what", "how often"), rows)
    return ["## What was left out or mended", counts, *(said if broken else [])]


def _made(meta: Mapping[str, Any]) -> list[str]:
    config, source = meta["config"], meta["source"]
    command = ["python", "train/prepare.py", config["reader"], source["path"], "--out", "FOLDER"]
    if config["format"] != "parquet":
        command += ["--format", config["format"]]
    if config["limit"] is not None:
        command += ["--limit", str(config["limit"])]
    if len(config["tables"]) == 1:
        command += ["--only", config["tables"][0]]
    if facts := config.get("facts"):
        command += ["--facts", *(origin["name"] for origin in facts)]
        if mapping := {k: v for origin in facts for k, v in origin.get("mapping", {}).items()}:
            command += ["--facts-mapping", json.dumps(mapping)]
    for name, value in config["options"].items():
        said = value if isinstance(value, str) else json.dumps(value)
        command += ["--option", f"{name}={said}"]
    files = [(e["file"], f"{e['bytes']:,}", e["blake2b"]) for e in config["sources"][:50]]
    more = len(config["sources"]) - len(files)
    made = ["## How it was made", block(shlex.join(line(word) for word in command), "sh")]
    if files:
        made += ["It was made of these files:", _cells(("file", "bytes", "fingerprint"), files)]
    return [*made, *([f"and {more:,} more, see `prepare.json`."] if more > 0 else [])]


def _loading(meta: Mapping[str, Any]) -> list[str]:
    table, splits = next(
        (t, s) for t, s in meta["tables"].items() if any(said["files"] for said in s.values())
    )
    split = next(name for name, said in splits.items() if said["files"])
    code = [
        "from datasets import load_dataset",
        f'rows = load_dataset("FOLDER", "{table}", split="{split}")  # or "user/name" on the Hub',
        "",
        "from llmrec.datasets.folder import Folder",
        f'values = Folder.open("FOLDER").{table}("{split}")  # a stream of llmrec\'s own types',
    ]
    return ["## How to load it", block("\n".join(code), "python")]


def _limits(meta: Mapping[str, Any]) -> list[str]:
    limits = [
        "- Mistakes, gaps and biases of the source are still in it.",
        "- What the source says of people's tastes is what they said or did there, at that time.",
    ]
    if meta["tables"].get("examples"):
        limits.append(
            "- `likes` and `reply` tell what comes after the conversation: they are for training "
            "targets and for measuring, never for a prompt."
        )
    if meta["config"]["limit"] is not None:
        limits.append(f"- It is cut: at most {meta['config']['limit']:,} rows of a split.")
    if meta["config"]["format"] == "csv":
        limits.append("- Lists are joined with `;`; a `;` or `|` in a name became a comma.")
    return ["## Limits", "\n".join(limits)]


def _cells(head: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    return table(head, ([text(cell) for cell in row] for row in rows))
