"""Measure a catalogue on object storage beside the same in a folder: opening, columns, searches.

    python benchmarks/remote.py --rows 20000
    python benchmarks/remote.py --rows 2000 --latency 20 --runs 2 --json figures.json

The storage is moto's S3 server (pip install 'moto[server]') on this machine, behind a proxy that
counts requests and holds each back by the latency given, as a storage that is further away does.
Every run is a new process of each side in turn; "s3 again" is a second process, which finds copies
of the columns on this machine. Searches are of two words, each search of other words; then
the same once more. Nothing is said of how fast a storage of many disks is: moto is one process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where a script's siblings are

from benchmarks.catalog import made_up_items
from benchmarks.measuring import spread
from llmrec.errors import InputError
from llmrec.folders import write_whole
from llmrec.options import script

SIDES = ("folder", "s3", "s3 again")
SEARCHES = 20


class Proxy:
    """Passes bytes on to a port, each request after a while. ``requests``: how many there were."""

    def __init__(self, port: int) -> None:
        self.requests, self.latency = 0, 0.0
        self._to = port
        self._loop = asyncio.new_event_loop()
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._server = self._loop.run_until_complete(starting)
        self.port: int = self._server.sockets[0].getsockname()[1]
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    async def _serve(self, asking: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        answering, into = await asyncio.open_connection("127.0.0.1", self._to)
        back = asyncio.ensure_future(self._pass(answering, out))
        await self._pass(asking, into, asked=True)
        await back

    async def _pass(
        self, source: asyncio.StreamReader, to: asyncio.StreamWriter, asked: bool = False
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(1 << 16):
                if asked and b" HTTP/1.1\r\n" in data:
                    self.requests += data.count(b" HTTP/1.1\r\n")
                    await asyncio.sleep(self.latency)
                to.write(data)
                await to.drain()
        with contextlib.suppress(ConnectionError):
            to.close()


@contextlib.contextmanager
def storage() -> Iterator[Proxy]:
    """moto's server with the bucket "films", behind a proxy. Raises InputError."""
    command = shutil.which("moto_server")
    if command is None:
        raise InputError("moto_server is not installed: pip install 'moto[server]'")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with subprocess.Popen(  # noqa: S603
        [command, "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            made = urllib.request.Request(f"http://127.0.0.1:{port}/films", method="PUT")
            for _ in range(300):
                with contextlib.suppress(urllib.error.URLError, ConnectionError):
                    urllib.request.urlopen(made).close()  # noqa: S310
                    break
                time.sleep(0.1)
            yield Proxy(port)
        finally:
            process.terminate()


def used(uri: str, options: dict[str, str] | None, cache: str) -> dict[str, Any]:
    """Seconds of each step, for a process that has done nothing else."""
    os.environ["XDG_CACHE_HOME"] = cache
    from llmrec.catalog import Catalog

    Catalog.embedded()  # the import of LanceDB is no cost of a storage
    seconds: dict[str, float] = {}

    def step(name: str, run: Callable[[], Any], n: int = 1) -> Any:
        start = time.perf_counter()
        made = run()
        seconds[name] = (time.perf_counter() - start) / n
        return made

    catalog: Catalog = step("open", lambda: Catalog.open(uri, storage_options=options))
    some = next(made_up_items(1, 0)).description.split()
    words = [f"{a} {b}" for a, b in pairwise(some)][: SEARCHES + 1]
    step("first search", lambda: catalog.search(words[0]))
    step("search, new words", lambda: [catalog.search(w) for w in words[1:]], SEARCHES)
    step("search, same words", lambda: [catalog.search(w) for w in words[1:]], SEARCHES)
    step("labels, popularity, ids", lambda: (catalog.labels, catalog.popularity, catalog.ids))
    step("ten items", lambda: catalog.items_at(range(0, len(catalog), -(-len(catalog) // 10))))
    return seconds


def measure(rows: int, runs: int, latencies: Sequence[float], seed: int) -> list[dict[str, Any]]:
    """Every latency's figures: seconds of each step and side, and requests."""
    from llmrec.catalog import Catalog

    context = multiprocessing.get_context("spawn")
    out = []
    with tempfile.TemporaryDirectory(prefix="llmrec-remote-") as folder, storage() as proxy:
        options = {
            "aws_access_key_id": "benchmark",
            "aws_secret_access_key": "benchmark",
            "aws_endpoint": f"http://127.0.0.1:{proxy.port}",
            "aws_region": "us-east-1",
            "allow_http": "true",
        }
        path, uri = os.path.join(folder, "items.lance"), "s3://films/items.lance"
        Catalog.from_items(made_up_items(rows, seed), path).save(uri, storage_options=options)
        for latency in latencies:
            proxy.latency = latency / 1e3
            seconds: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
            requests: dict[str, list[int]] = {side: [] for side in SIDES}
            for n in range(runs):
                for side in SIDES:
                    at, given = (path, None) if side == "folder" else (uri, options)
                    before = proxy.requests
                    with ProcessPoolExecutor(1, mp_context=context) as pool:
                        cache = os.path.join(folder, f"cache-{latency}-{n}")
                        seconds[side].append(pool.submit(used, at, given, cache).result())
                    requests[side].append(proxy.requests - before)
            out.append({"latency_ms": latency, "seconds": seconds, "requests": requests})
    return out


def table(figures: dict[str, Any]) -> list[str]:
    """Medians, their range, and the ratio to the folder."""
    lines = ["| ms | folder | s3 | ratio | s3 again | ratio |", "|---" * 6 + "|"]
    seconds = figures["seconds"]
    for name in seconds["folder"][0]:
        values = {side: [1e3 * run[name] for run in seconds[side]] for side in SIDES}
        middle = {side: statistics.median(v) for side, v in values.items()}
        cells = [spread(v, 1) for v in values.values()]
        ratios = [f"{middle[s] / middle['folder']:.1f}" for s in SIDES[1:]]
        lines.append(f"| {name} | {cells[0]} | {cells[1]} | {ratios[0]} | {cells[2]} | "
                     f"{ratios[1]} |")  # fmt: skip
    asked = {side: statistics.median(v) for side, v in figures["requests"].items()}
    lines.append(f"| requests of a run | 0 | {asked['s3']:.0f} | | {asked['s3 again']:.0f} | |")
    return lines


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=5_000, help="items of the catalogue")
    parser.add_argument("--runs", type=int, default=3, help="processes of each side")
    parser.add_argument(
        "--latency", type=float, nargs="+", default=[0.0, 20.0], help="ms added to each request"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write every time to this file")
    return parser


@script("remote")
def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 0 when done."""
    args = make_parser().parse_args(argv)
    figures = measure(args.rows, args.runs, args.latency, args.seed)
    for one in figures:
        print(f"{args.rows:,} items, {args.runs} processes of each side, {one['latency_ms']:g} ms "
              "added to each request: median (least to most)")  # fmt: skip
        print(*table(one), sep="\n")
    if args.json:
        write_whole(args.json, json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
