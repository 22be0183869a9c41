"""Running hides how conversations are answered shard by shard, in whatever order and by whomever.

A shard is always cut into the same batches, and begins with a model and a reader that remember
nothing: so its rows are the same whoever answers it, and after whatever else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llmrec._version import __version__
from llmrec.bulk.folder import BulkReport, Folder
from llmrec.bulk.options import BulkOptions
from llmrec.bulk.places import is_within, place
from llmrec.bulk.reading import Reader, Shard, shards_of
from llmrec.bulk.table import Answered, table
from llmrec.catalog import Catalog
from llmrec.datasets.journal import digest, fingerprints
from llmrec.errors import InputError, LLMRecError, ModelError
from llmrec.recommender import Recommender
from llmrec.types import Conversation

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Build", "Share", "Work", "load", "run"]

Build = Callable[[BulkOptions, Catalog], Recommender]
_OUTAGE = 8  # conversations on which a model fails one after the other before it is given up
_WHOLE_BYTES = 16 << 20  # of larger files of the input both ends are compared


@dataclass(frozen=True)
class Share:
    """Which shards a process begins with: process ``rank`` of ``world``; it goes on with others."""

    rank: int = 0
    world: int = 1

    @classmethod
    def of_environment(cls) -> Share:
        """As torchrun says it by ``RANK`` and ``WORLD_SIZE``."""
        return cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))

    def order(self, shards: int) -> list[int]:
        """Every shard, this process's own first, and then those that others come to last."""
        own = range(self.rank, shards, self.world)
        return [*own, *sorted(set(range(shards)) - set(own), reverse=True)]


def run(
    options: BulkOptions,
    build: Build | None = None,
    *,
    share: Share | None = None,
    progress: bool = True,
) -> BulkReport:
    """Recommend for every conversation, or for those that are left; returns when all are done.

    Any number of processes may run the same, on any number of machines that share the folder.

    Parameters
    ----------
    build: makes the recommender, if anything is left to ask; None: ``load``. The run is known by
        its options, so what it makes should be what they say.
    share: None: as the environment says.
    progress: show a bar on stderr, of the first process.

    Raises
    ------
    LLMRecError: something cannot be read or loaded, the folder holds another run, or the model
        fails on everything.
    """
    share = share or Share.of_environment()
    if share.world > 1 and (options.restart or options.retry_failed):
        raise InputError(
            f"restart and retry_failed are for one process, and here are {share.world}: run "
            "with --processes, or once alone"
        )
    work = Work(options, build)
    work.begin()
    from tqdm import tqdm

    total = len(work.shards)
    with tqdm(total=total, unit="shard", disable=not progress or share.rank > 0) as bar:
        for number in share.order(total):
            work.do(number)
            bar.update()
    for number in range(total):
        work.do(number, wait=True)
    return work.folder.report()


class Work:
    """The shards of a run, as one process goes through them."""

    def __init__(self, options: BulkOptions, build: Build | None = None) -> None:
        self.options = options
        source, out = place(options.input), place(options.out)
        if is_within(out, source):
            raise InputError(f"{out} is within {source}, which is read: give another --out")
        self.shards = shards_of(source, options.shard_rows)
        if not self.shards:
            raise InputError(f"{source} has no row: give it some conversations")
        self.folder = Folder(out, len(self.shards))
        self._build = build or load
        self._read = Reader()

    def begin(self) -> None:
        """Begin the run, or see that the one in the folder is the same. Raises InputError."""
        o = self.options
        manifest = {
            "llmrec": __version__,
            "sources": _sources(self.shards),
            "options": {k: v for k, v in o.decisive.items() if k != "model"},
            "model": o.model,
            "weights": {
                name: _contents(getattr(o, name)) for name in ("model", "adapter", "ranker")
            },
            "catalog": self._catalog.fingerprint,
            "conversations": sum(s.rows for s in self.shards),
            "shards": len(self.shards),
        }
        self.folder.begin(manifest, restart=o.restart, retry_failed=o.retry_failed)

    def do(self, number: int, *, wait: bool = False) -> None:
        """Answer a shard, unless it is done, or another process is at it.

        Parameters
        ----------
        wait: wait for that other one, and answer it if it does not.
        """
        if self.folder.has(number):
            return
        with self.folder.claimed(number, wait=wait) as mine:
            if mine and not self.folder.has(number):
                self.folder.write(number, self._answers(self.shards[number]))

    @cached_property
    def _catalog(self) -> Catalog:
        named = self.options.catalog
        return Catalog.open(named) if named else Catalog.embedded()

    @cached_property
    def _recommender(self) -> Recommender:
        return self._build(self.options, self._catalog)

    def _answers(self, shard: Shard) -> pa.Table:
        asked = self._read(shard)
        sound = [(n, c) for n, (_, c) in enumerate(asked) if isinstance(c, Conversation)]
        answers: list[Answered] = [(name, c if isinstance(c, str) else ()) for name, c in asked]
        _forget(self._recommender)
        failures = 0
        with closing(self._all_found([c for _, c in sound])) as results:
            for (n, _), found in zip(sound, results, strict=True):
                failures = failures + 1 if isinstance(found, ModelError) else 0
                if failures == _OUTAGE:
                    raise LLMRecError(
                        f"the model failed on {_OUTAGE} conversations one after the other ({found})"
                        ": this shard is left, run the same command again once it works"
                    )
                answers[n] = (asked[n][0], _sentence(found) if _is_error(found) else found)
        return table(answers, self._recommender.model.name)

    def _all_found(self, talks: Sequence[Conversation]) -> Generator[Any, None, None]:
        """For each what is recommended, or the error, in order.

        Of a server each conversation is asked about apart, so many at once as it is to be sent
        requests: what one of them waits for (its wishes are read before it is answered) or fails
        on makes no other wait.
        """
        size = self.options.batch_size
        if not self.options.served:
            for at in range(0, len(talks), size):
                yield from self._found(talks[at : at + size])
            return
        yield from self._found(talks[:1])  # what all of them share is made once, and not by each
        pool = ThreadPoolExecutor(size)
        try:
            for (found,) in pool.map(lambda c: self._found([c]), talks[1:]):
                yield found
        finally:
            pool.shutdown(cancel_futures=True)  # of a server that is down nothing more is asked

    def _found(self, batch: Sequence[Conversation]) -> list[Any]:
        """For each what is recommended, or the error; one alone where all together fail."""
        if not batch:
            return []
        try:
            found: list[Any] = self._recommender.recommend(
                list(batch), self.options.k, repeat=self.options.repeat
            )
            return found
        except Exception as e:  # of a million conversations none shall stop the others
            if len(batch) == 1:
                return [e]
            return [found for c in batch for found in self._found([c])]


def _is_error(found: Any) -> bool:
    return isinstance(found, Exception)


def _sentence(error: Exception) -> str:
    kind = "" if isinstance(error, LLMRecError) else f"{type(error).__name__}: "
    return f"{kind}{error}"


def _forget(recommender: Recommender) -> None:
    """Forget what earlier shards taught."""
    if (forget := getattr(recommender.model, "forget", None)) is not None:
        forget()
    recommender.understander.forget()


def _sources(shards: Sequence[Shard]) -> list[dict[str, Any]]:
    files = {shard.name: shard.file for shard in shards}
    return [
        {"file": n, "bytes": f.stat().st_size, "blake2b": digest(cast(Path, f), _WHOLE_BYTES)}
        for n, f in files.items()
    ]


def _contents(name: str | None) -> str | None:
    """Digest of what a folder holds; None of what is none."""
    if name == "embedded":
        from llmrec.models.local import EMBEDDED

        name = str(EMBEDDED)
    if name is None or not Path(name).is_dir():
        return None
    said = "\0".join(f"{f['file']} {f['blake2b']}" for f in fingerprints(name))
    return blake2b(said.encode(), digest_size=16).hexdigest()


def load(options: BulkOptions, catalog: Catalog) -> Recommender:
    """The recommender that the options name. Raises LLMRecError if it cannot be loaded."""
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    common: dict[str, Any] = {
        "catalog": catalog,
        "grounding": options.grounding,
        "ranker": options.ranker,
    }
    if options.served:
        from llmrec.models.endpoint import Endpoint

        server = Endpoint(  # of one conversation one request at a time: see ``Work``
            options.model, model=options.server_model, adapter=options.adapter, concurrency=1
        )
        return Recommender.from_pretrained(server, **common)
    return Recommender.from_pretrained(
        None if options.model == "embedded" else options.model,
        options.adapter,
        revision=options.revision,
        quantization=None if options.quantization == "none" else options.quantization,  # type: ignore[arg-type]
        device=_device(),
        chat_template_from=options.chat_template_from,
        **common,
    )


def _device() -> str:
    import torch

    several = torch.cuda.device_count() if "LOCAL_RANK" in os.environ else 0
    return f"cuda:{int(os.environ['LOCAL_RANK']) % several}" if several > 1 else "auto"
