"""Bulk runs of a scripted model over the films of the world, which can be killed at any point.

As a script it is such a run in a process of its own, and ends itself where KILL says:
``asked:7`` when the model is given the seventh conversation, ``part:2`` before the second table
has its name, ``whole:2`` right after. Where KILL_ONCE names a file, only the first process that
comes there ends.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import world

from llmrec.bulk import BulkOptions, run
from llmrec.bulk.places import Remote
from llmrec.catalog import Catalog
from llmrec.errors import ModelError
from llmrec.models.profile import Profile
from llmrec.models.scripted import ScriptedModel
from llmrec.recommender import Recommender

LOG = "BULK_LOG"
IDS = tuple(film.id for film in world.FILMS)


def talks(n: int) -> Iterator[dict[str, Any]]:
    """Conversations of several forms; of those after the first, three cannot be answered."""
    for number in range(n):
        said = [{"role": "user", "content": f"Something like {world.FILMS[number % 14].title}"}]
        if number % 3 == 0:
            shown = {"role": "assistant", "content": "Here you are.", "items": [IDS[number % 14]]}
            said += [shown, {"role": "user", "content": "Something else"}]
        said[-1]["content"] += f", talk {number}"
        row: dict[str, Any] = {"id": f"talk-{number}", "messages": said}
        if number % 2:
            row |= {"liked": [IDS[(number + 3) % 14]], "seen": None, "language": "pt"}
        if number == 5:
            row["liked"] = ["no such film"]
        if number == 6:
            said.append({"role": "assistant", "content": "The last word."})
        if number == 9:
            said[-1]["content"] += " CURSED"
        yield row


def write_lines(file: Path, n: int) -> Path:
    """The conversations as JSON lines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(t) + "\n" for t in talks(n)), encoding="utf-8")
    return file


class Logging(ScriptedModel):
    """Writes down which conversations it is given, and fails on those that are cursed."""

    profile = Profile(lead="rules-only", detail="turns", writes=False)

    def prefill_many(self, prompts: Sequence[Sequence[int]]) -> Any:
        texts = [bytes(t for t in p if t < 256).decode() for p in prompts]
        numbers = [re.findall(r"talk (\d+)", text)[-1] for text in texts]
        for text in texts:
            if "CURSED" in text:
                raise ModelError("this one is cursed")
        if LOG in os.environ:
            with open(os.environ[LOG], "a", encoding="utf-8") as out:
                out.write("".join(f"{number}\n" for number in numbers))
        for _ in numbers:
            passed("asked")
        return super().prefill_many(prompts)


_seen: dict[str, int] = {}


def passed(kind: str) -> None:
    """Note that a point is passed; the process ends here if it is the one that KILL names."""
    _seen[kind] = _seen.get(kind, 0) + 1
    if os.environ.get("KILL") == f"{kind}:{_seen[kind]}":
        if once := os.environ.get("KILL_ONCE"):
            try:
                Path(once).touch(exist_ok=False)
            except FileExistsError:
                return
        os.kill(os.getpid(), signal.SIGKILL)


def build(options: BulkOptions, catalog: Catalog) -> Recommender:
    """The scripted model over a catalogue."""
    return Recommender(Logging(seed=7), catalog)


def options(folder: Path, **changes: Any) -> BulkOptions:
    """A run over what lies in a folder: ``talks``, ``films``; its answers go to ``out``."""
    given = {"input": str(folder / "talks"), "catalog": str(folder / "films"), "k": 3}
    small = {"out": str(folder / "out"), "batch_size": 3, "shard_rows": 7}
    return BulkOptions(**{**given, **small, **changes})


def watch_tables() -> None:
    """Let the moments at which a table gets its name be passed."""
    replace = Path.replace

    def told(self: Path, target: Path) -> Path:
        if target.name.startswith("shard-"):
            passed("part")
        done = replace(self, target)
        if target.name.startswith("shard-"):
            passed("whole")
        return done

    Path.replace = told  # type: ignore[method-assign,assignment]
    write = Remote.write

    def written(self: Remote, content: bytes) -> None:
        if self.name.startswith("shard-"):
            passed("part")
        write(self, content)
        if self.name.startswith("shard-"):
            passed("whole")

    Remote.write = written  # type: ignore[method-assign]


if "KILL" in os.environ:
    watch_tables()
if __name__ == "__main__":
    run(BulkOptions(**json.loads(sys.argv[1])), build, progress=False)
