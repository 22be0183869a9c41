"""Spreading hides how several processes are started: plain children, or the actors of Ray Data."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from llmrec.bulk.folder import BulkReport
from llmrec.bulk.options import BulkOptions
from llmrec.bulk.running import Build, Work, run
from llmrec.errors import InputError, LLMRecError, MissingExtraError

__all__ = ["run_processes", "run_ray"]

_FOLDERS = ("input", "out", "model", "adapter", "catalog", "ranker", "chat_template_from")


def run_processes(options: BulkOptions, processes: int, *, progress: bool = True) -> BulkReport:
    """``run`` by several processes of this machine, each with a model of its own.

    One that is killed leaves its shards to the others. All end with this one.

    Raises
    ------
    LLMRecError: as ``run``; or all processes ended too early.
    """
    if processes < 1:
        raise InputError(f"processes is {processes}: give 1 or more")
    work = Work(options)
    work.begin()
    with ExitStack() as stack:
        children = [
            stack.enter_context(_Child(_begun(options), rank, processes, progress))
            for rank in range(processes)
        ]
        codes = [child.wait() for child in children]
    report = work.folder.report()
    if report.shards < report.of:
        raise LLMRecError(
            f"the processes ended with the codes {', '.join(map(str, codes))} (their last words "
            f"are above) and {report.of - report.shards:,} shards are left: run the same command "
            "again, it goes on"
        )
    return report


def _begun(options: BulkOptions) -> BulkOptions:
    """The options for those who go on with what one has begun."""
    return dataclasses.replace(options, restart=False, retry_failed=False)


class _Child:
    """A process that runs the same; multiprocessing would run an unguarded script again."""

    def __init__(self, options: BulkOptions, rank: int, world: int, progress: bool) -> None:
        code = f"import sys; sys.path[:] = sys.argv[2:]; from {__name__} import _serve; _serve()"
        said = json.dumps({"options": options.plain, "progress": progress})
        ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", code, said, *sys.path],
            stdin=subprocess.PIPE,
            env={**os.environ, **ranks},
        )

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.communicate()

    def wait(self) -> int:
        """Its code, once it has ended."""
        return self._process.wait()


def _serve() -> None:
    """The other end of ``_Child``; ends with its standard input."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    said = json.loads(sys.argv[1])
    try:
        run(BulkOptions(**said["options"]), progress=said["progress"])
    except LLMRecError as e:
        print(f"process {os.environ['RANK']}: {e}", file=sys.stderr)
        sys.exit(1)


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def run_ray(
    options: BulkOptions,
    address: str | None = None,
    *,
    workers: int = 2,
    build: Build | None = None,
    progress: bool = True,
) -> BulkReport:
    """``run`` by actors of Ray Data, each of which holds a model.

    An actor that is killed is started again by Ray, and only the shard it was at is done again.

    Parameters
    ----------
    address: of a cluster, "auto" for the one of this machine; None: Ray is started here and
        stopped at the end. The folders must be the same on all of its machines.
    workers: how many actors; each takes a GPU where the cluster has some, else a core.
    build: as for ``run``; it must be found on the workers.

    Raises
    ------
    LLMRecError: as ``run``.
    MissingExtraError: ray is not installed.
    """
    if workers < 1:
        raise InputError(f"workers is {workers}: give 1 or more")
    try:
        import ray
        import ray.data
    except ImportError:
        raise MissingExtraError("ray", "bulk") from None
    work = Work(options, build)
    mine = _started(ray, address, workers)  # before the catalogue is opened: it forks
    try:
        work.begin()
        _do_all(ray, work, build, workers, progress)
    except ray.exceptions.RayError as e:
        raise LLMRecError(f"Ray gave up: {' '.join(str(e).split())}") from e
    finally:
        if mine:
            ray.shutdown()
    return work.folder.report()


def _do_all(ray: Any, work: Work, build: Build | None, workers: int, progress: bool) -> None:
    from tqdm import tqdm

    total = len(work.shards)
    left = [n for n in range(total) if not work.folder.has(n)]
    if not left:
        return
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    done = ray.data.from_items([{"shard": n} for n in left]).map_batches(
        _Actor,
        fn_constructor_args=(_everywhere(_begun(work.options)), build),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=1,
        num_gpus=1 if ray.cluster_resources().get("GPU") else 0,
    )
    with tqdm(total=total, initial=total - len(left), unit="shard", disable=not progress) as bar:
        for row in done.iter_rows():
            if row["error"]:
                raise LLMRecError(row["error"])
            bar.update()


def _started(ray: Any, address: str | None, workers: int) -> bool:
    """Join a cluster or start one; whether it is to be stopped again."""
    if ray.is_initialized():
        return False
    quiet: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        if address:
            ray.init(address, **quiet)
        else:
            ray.init(num_cpus=workers, include_dashboard=False, **quiet)
    except (ConnectionError, ValueError) as e:
        raise InputError(f"no cluster of Ray at {address!r} ({e}): start one, or give none") from e
    return True


def _everywhere(options: BulkOptions) -> BulkOptions:
    """The options with whole paths, as actors stand in another folder."""
    found: Mapping[str, str | None] = {n: getattr(options, n) for n in _FOLDERS}
    whole = {
        name: str(Path(value).resolve())
        for name, value in found.items()
        if value and "://" not in value and (Path(value).exists() or name == "out")
    }
    return dataclasses.replace(options, **whole)  # type: ignore[arg-type]


class _Actor:
    """Answers the shards it is given, with one model for all of them."""

    def __init__(self, options: BulkOptions, build: Build | None) -> None:
        self._work = Work(options, build)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        errors = [self._tried(int(number)) for number in batch["shard"]]
        return {**batch, "error": errors}

    def _tried(self, number: int) -> str:
        """Why a shard cannot be answered, as Ray would wrap an error beyond recognition."""
        try:
            self._work.do(number, wait=True)
        except LLMRecError as e:
            return str(e)
        return ""
