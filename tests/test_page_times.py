"""The measurement of how quickly the page is there, and what makes it smaller on its way."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import page
from llmrec.errors import LLMRecError

needs_browser = pytest.mark.skipif(
    not page.CHROMIUM.exists(), reason=f"there is no {page.CHROMIUM}"
)

SHOP = """<!doctype html><title>A page</title>
<main id=root></main><img src="http://127.0.0.2:9/other.png"><script>
setTimeout(() => { root.innerHTML = '<header data-page-language="en">Hello</header>' +
  '<div id=lr-box><textarea></textarea></div><div id=log></div>';
  const box = document.querySelector('textarea');
  box.addEventListener('keydown', (event) => { if (event.key === 'Enter') {
    const turn = '<section class=lr-turn><p class=lr-card>A</p></section>';
    setTimeout(() => { log.innerHTML = turn; }, 150);
    setTimeout(() => { document.querySelector('.lr-turn').dataset.stage = STAGE; }, 400);
  } });
}, 200);
</script>"""


@pytest.fixture
def shop(tmp_path: Path) -> Callable[[str], Any]:
    """Serves a page that looks to the measurement like the real one, for as long as it is open."""
    import functools
    import threading
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    @contextlib.contextmanager
    def opened(stage: str) -> Any:
        (tmp_path / "index.html").write_text(SHOP.replace("STAGE", f"'{stage}'"), encoding="utf-8")
        handler = functools.partial(Quiet, directory=str(tmp_path))
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}"
            server.shutdown()

    return opened


@needs_browser
@pytest.mark.browser
def test_a_page_whose_times_are_known_is_measured_right(shop: Callable[[str], Any]) -> None:
    with page.chromium(page.CHROMIUM) as browser:
        with shop("done") as address:
            found = page.visit(browser, address, mobile=False, slow=True)
        with shop("failed") as address, pytest.raises(LLMRecError, match="two hours' failed: look"):
            page.visit(browser, address, mobile=False, slow=False)
    assert found.keys() == page.FIGURES.keys()
    assert found["foreign"] == 1
    assert 500 < found["first_byte"] + 600 < found["usable"] == found["greeted"]  # slow 4G
    assert found["first_byte"] < found["first_paint"] <= found["largest_paint"]
    assert 150 <= found["first_card"] < found["answered"]
    assert 400 <= found["answered"] < 3_000
    assert len(SHOP) / 1000 < found["kilobytes"] < len(SHOP) / 1000 + 2


def test_the_figures_are_printed_and_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    visits = iter(range(1, 100))

    def visit(browser: Any, address: str, *, mobile: bool, slow: bool) -> dict[str, float]:
        n = next(visits)
        return {name: n / 4 if slow else float(n) for name in page.FIGURES} | {"foreign": n > 5}

    monkeypatch.setattr(page, "chromium", contextlib.nullcontext)
    monkeypatch.setattr(page, "visit", visit)
    arguments = ["--runs", "3", "--address", "http://127.0.0.1:1/", "--json", str(tmp_path / "f")]
    assert page.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| a wide screen | first visitor | 3 more | 1 over slow 4G |"
    assert lines[1] == "|---|---:|---:|---:|"
    assert lines[2] == "| first byte, ms | 1 | 3 (2 to 4) | 1 |"
    assert lines[-1] == "| layout shift while it opens | 1.000 | 3.000 (2.000 to 4.000) | 1.250 |"
    figures = json.loads((tmp_path / "f").read_text(encoding="utf-8"))
    assert figures["3 more"]["usable"] == [3, 2, 4]
    assert page.main(arguments) == 1  # something was asked of another server


@needs_browser
@pytest.mark.browser
@pytest.mark.slow
def test_the_real_page_is_measured(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert page.main(["--runs", "1", "--mobile", "--json", str(tmp_path / "f.json")]) == 0
    figures = json.loads((tmp_path / "f.json").read_text(encoding="utf-8"))
    assert figures["mobile"] is True
    value = {name: v for name, (v, _, _) in figures["1 more"].items()}
    assert value["foreign"] == 0
    assert value["first_byte"] < value["first_paint"] < value["usable"] <= value["greeted"]
    assert 0 < value["first_card"] <= value["answered"]
    assert 100 < value["kilobytes"] < 600  # 850 when the page's first HTML is not packed
    assert "| a telephone | first visitor |" in capsys.readouterr().out


def test_without_a_browser_it_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("playwright", reason="playwright is not installed")
    assert page.main(["--chromium", str(tmp_path / "none")]) == 1
    assert "there is no browser at " in capsys.readouterr().err
    assert page.main(["--runs", "0"]) == 1
    assert capsys.readouterr().err == "--runs is 0: give 1 or more\n"


def test_traffic_is_counted_as_the_browser_tells_it() -> None:
    heard: dict[str, Callable[[Any], None]] = {}
    traffic = page.Traffic("http://127.0.0.1:1", heard.__setitem__)
    for n, url in enumerate(("http://127.0.0.1:1/a", "data:x", "blob:y", "http://elsewhere/b")):
        heard["Network.requestWillBeSent"]({"requestId": str(n), "request": {"url": url}})
    heard["Network.dataReceived"]({"requestId": "0", "encodedDataLength": 100})
    heard["Network.loadingFinished"]({"requestId": "0", "encodedDataLength": 700})
    heard["Network.dataReceived"]({"requestId": "3", "encodedDataLength": 30})
    heard["Network.dataReceived"]({"requestId": "3", "encodedDataLength": 40})  # never ends
    assert (traffic.requests, traffic.bytes) == (2, 770)
    assert traffic.foreign == ["http://elsewhere/b"]


def test_an_app_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "ROOT", Path(__file__).parent / "nowhere")
    with pytest.raises(LLMRecError, match=r"^app\.py ended: "), page.started():
        pass


def test_the_page_and_its_answers_are_packed_and_streams_are_not() -> None:
    pytest.importorskip("gradio", reason="the extra demo is not installed")
    from llmrec.demo.packing import LEAST, Packed

    body = b"<p>film</p>" * LEAST

    async def app(scope: Any, receive: Any, send: Any) -> None:
        kind = b"text/event-stream" if "stream" in scope["path"] else b"text/html"
        await send({
            "type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)],
        })  # fmt: skip
        await send({"type": "http.response.body", "body": body})

    def got(path: str, accepted: bytes = b"gzip, br") -> tuple[bytes | None, bytes]:
        sent: list[dict[str, Any]] = []

        async def send(message: Any) -> None:
            sent.append(dict(message))

        async def none() -> Any:
            raise AssertionError("nothing is read")

        scope = {"type": "http", "path": path, "headers": [(b"accept-encoding", accepted)]}
        asyncio.run(Packed(app)(scope, none, send))
        return dict(sent[0]["headers"]).get(b"content-encoding"), sent[1]["body"]

    for path in ("/", "/config", "/gradio_api/info", "/gradio_api/run/predict"):
        coding, packed = got(path)
        assert coding == b"gzip"
        assert len(packed) < len(body) / 10
        assert gzip.decompress(packed) == body
        assert got(path, b"identity") == (None, body)
    for path in ("/gradio_api/queue/data", "/assets/index.js", "/gradio_api/stream/run/predict"):
        assert got(path) == (None, body)
