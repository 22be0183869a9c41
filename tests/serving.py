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
def served(file: str, tries: int = 300) -> Iterator[str]:
    """The address of a process that runs a file with a free port; it ends with the context.

    Parameters
    ----------
    tries: tenths of a second at least that the server may take until it answers.
    """
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    here = Path(file).resolve()
    environment = {**os.environ, "PYTHONPATH": str(here.parent.parent), "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen([sys.executable, str(here), str(port)], env=environment) as process:
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
