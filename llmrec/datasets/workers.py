"""Workers hides the processes that turn blocks of bytes into Arrow tables, in the blocks' order.

They are plain children that are told by name what to call: multiprocessing would run an unguarded
script of the user again.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib import import_module
from typing import IO, TYPE_CHECKING, Any

from llmrec.errors import LLMRecError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MAX_WORKERS", "available", "spread"]

MAX_WORKERS = 3


def available() -> int:
    """The cores that this process may use, at most ``MAX_WORKERS``."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, MAX_WORKERS)


def spread(
    make: Callable[..., pa.Table], blocks: Iterator[bytes], workers: int, **options: Any
) -> Iterator[pa.Table]:
    """``make(block, **options)`` of each block, in their order; the next block is read ahead.

    Parameters
    ----------
    make: a function that stands at the top of a module.
    workers: how many processes; of 1 all is done in this one.
    options: plain JSON types.

    Raises
    ------
    LLMRecError: a process ended too early; and what ``blocks`` raises, after all before it.
    """
    if workers == 1:
        yield from (make(block, **options) for block in blocks)
        return
    with ExitStack() as stack:
        idle = deque(stack.enter_context(_Worker(make, options)) for _ in range(workers))
        ahead = stack.enter_context(ThreadPoolExecutor(1))
        coming = ahead.submit(next, blocks, None)
        busy: deque[_Worker] = deque()

        def employ() -> None:
            nonlocal coming
            while idle and coming.exception() is None and (block := coming.result()) is not None:
                idle[0].send(block)
                busy.append(idle.popleft())
                coming = ahead.submit(next, blocks, None)

        employ()
        while busy:
            worker = busy.popleft()
            table = worker.receive()
            idle.append(worker)
            employ()
            yield table
        coming.result()  # raises what ended the blocks early


class _Worker:
    """A process that is sent blocks and answers each with a table."""

    def __init__(self, make: Callable[..., pa.Table], options: dict[str, Any]) -> None:
        code = f"import sys; sys.path[:] = sys.argv[1:]; from {__name__} import _serve; _serve()"
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", code, *sys.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.send(json.dumps([make.__module__, make.__qualname__, options]).encode())

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.communicate()

    def send(self, block: bytes) -> None:
        """Give it a block; it must have answered the one before."""
        assert self._process.stdin
        try:
            _put(self._process.stdin, block)
        except BrokenPipeError:
            raise self._ended() from None

    def receive(self) -> pa.Table:
        """Its answer to the block sent last."""
        import pyarrow as pa

        assert self._process.stdout
        if (data := _get(self._process.stdout)) is None:
            raise self._ended()
        return pa.ipc.open_stream(pa.py_buffer(data)).read_all()

    def _ended(self) -> LLMRecError:
        return LLMRecError(
            f"a reading process ended with code {self._process.wait()} (its last words are on "
            "stderr): read with workers=1 to do without"
        )


def _serve() -> None:
    """The other end of ``_Worker``; ends with its standard input."""
    import pyarrow as pa

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    module, name, options = json.loads(_get(sys.stdin.buffer) or b"")
    make = getattr(import_module(module), name)
    while (block := _get(sys.stdin.buffer)) is not None:
        table = make(block, **options)
        del block
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        _put(sys.stdout.buffer, sink.getvalue())


def _put(stream: IO[bytes], data: bytes | pa.Buffer) -> None:
    stream.write(struct.pack("<q", len(data)))
    stream.write(data)
    stream.flush()


def _get(stream: IO[bytes]) -> bytes | None:
    head = stream.read(8)
    if len(head) < 8:
        return None
    n = struct.unpack("<q", head)[0]
    data = stream.read(n)
    return data if len(data) == n else None
