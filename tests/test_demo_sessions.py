"""Sessions: what a page kept of visitors who left is forgotten, and of nobody else."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator

import httpx
import pytest

from benchmarks.load import Page, Session
from tests.serving import served

KEPT = 0.5


def serve(port: int) -> None:
    import gradio as gr
    from starlette.middleware import Middleware

    from llmrec.demo.sessions import Sessions

    with gr.Blocks(analytics_enabled=False) as app:
        said = gr.State(())
        box = gr.Textbox(elem_id="box")

        def remember(said: tuple[str, ...], text: str) -> tuple[tuple[str, ...], str]:
            said = (*said, text)
            return said, " ".join(said)

        box.submit(remember, [said, box], [said, box], queue=False)
    options = {"middleware": [Middleware(Sessions, KEPT)]}
    app.launch(server_port=port, quiet=True, app_kwargs=options)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served(__file__) as url:
        yield url


def with_page(address: str, use: Callable[[Page], Awaitable[None]]) -> None:
    async def run() -> None:
        async with httpx.AsyncClient(timeout=10) as client:
            await use(await Page.open(address, client))

    asyncio.run(run())


async def come(page: Page) -> Session:
    session = Session(page)
    await session.arrive()
    await asyncio.sleep(0.1)  # until the connection stands
    return session


async def say(session: Session, text: str) -> str:
    """What the page has heard from this visitor so far."""
    listener = session.page.listener("box", "submit")
    return str((await session.run(listener, session.body(listener, {"box": text})))["box"])


def test_who_left_is_forgotten_and_who_stays_is_not(address: str) -> None:
    async def use(page: Page) -> None:
        stays, leaves = await come(page), await come(page)
        for session in (stays, leaves):
            assert await say(session, "one") == "one"
        await leaves.leave()
        await asyncio.sleep(2 * KEPT)
        other = await come(page)  # sweeps
        assert await say(stays, "two") == "one two"
        assert await say(leaves, "two") == "two"
        for session in (stays, other):
            await session.leave()

    with_page(address, use)


def test_who_comes_back_in_time_finds_everything(address: str) -> None:
    async def use(page: Page) -> None:
        session = await come(page)
        await say(session, "one")
        await session.leave()
        await asyncio.sleep(KEPT / 5)
        await session.arrive()  # the same one, after a break in the connection
        await asyncio.sleep(2 * KEPT)
        other = await come(page)
        assert await say(session, "two") == "one two"
        for s in (session, other):
            await s.leave()

    with_page(address, use)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
