"""A page in a process of its own, for tests that speak to a server."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def served(file: str, tries: int = 300, *, port: int = 0, log: Path | None = None) -> Iterator[str]:
    """The address of a process that runs a file with a free port; it ends with the context.

    Parameters
    ----------
    tries: tenths of a second at least that the server may take until it answers.
    port: this one in place of a free one. log: a file for what the process prints.
    """
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", port))
        port = s.getsockname()[1]
    here = Path(file).resolve()
    environment = {**os.environ, "PYTHONPATH": str(here.parent.parent), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, str(here), str(port)]
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(log.open("wb")) if log else None
        process = stack.enter_context(
            subprocess.Popen(command, env=environment, stdout=out, stderr=out)
        )
        url = f"http://127.0.0.1:{port}/"
        try:
            for _ in range(tries):
                with contextlib.suppress(urllib.error.URLError, ConnectionError):
                    urllib.request.urlopen(url, timeout=5).close()
                    break
                assert process.poll() is None, "the server ended"
                time.sleep(0.1)
            yield url
        finally:
            process.terminate()
