"""Start the page on a Space of Hugging Face, or in a container: all settings are variables.

    python space/app.py
    LLMREC_MODEL=google/gemma-2-2b-it LLMREC_QUANTIZATION=4bit python space/app.py

LLMREC_MODEL, LLMREC_ADAPTER, LLMREC_RANKER: Hub ids or folders, as of app.py; without a model, or
where there is no GPU for it, the embedded one answers (LLMREC_ON_CPU=1 loads it all the same).
LLMREC_CATALOG: a catalogue folder, or a data set of the Hub that holds one.
LLMREC_QUANTIZATION: 4bit or 8bit.
LLMREC_FEEDBACK_DATASET: a data set of the Hub that keeps what visitors agree to give.
LLMREC_RIVALS: Hub ids or folders, separated by commas, of models that visitors compare with it.
LLMREC_RUNS: a folder with evaluation runs to show. LLMREC_UPLOADS=0: visitors bring no catalogues.
LLMREC_PICTURES: the hosts, separated by commas, from which the items' pictures may be shown.
LLMREC_LINKS=1: a list can be shared by a link.
LLMREC_ENDPOINT: the address of a server of models, or a model of Hugging Face's providers, in
place of LLMREC_MODEL; its key is LLMREC_API_KEY. LLMREC_ENDPOINT_MODEL: which model of the server.
LLMREC_ENDPOINT_ADAPTER: which of the adapters that it has loaded is named with each request.
GRADIO_SERVER_NAME, GRADIO_SERVER_PORT and GRADIO_ROOT_PATH: where the page is served.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from llmrec.errors import InputError, LLMRecError, ModelError

if TYPE_CHECKING:
    from llmrec.demo import Extras
    from llmrec.models.base import LanguageModel
    from llmrec.models.local import LocalModel
    from llmrec.recommender import Recommender

LONGEST_S, SHORTEST_S = 120, 10  # of a loan of ZeroGPU
_YES, _NO = ("1", "t", "true", "yes"), ("0", "f", "false", "no")


def make_parser() -> argparse.ArgumentParser:
    """There are no options: a Space gives none."""
    return argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Load, open the page and serve it until interrupted; 1 if that cannot be."""
    make_parser().parse_args(argv)
    zero = lender(os.environ)  # before anything that knows of CUDA
    try:
        from llmrec.demo import build, launch_options

        gpu = zero is not None or _has_gpu()
        recommender, embedded = load(os.environ, gpu=gpu)
        extras = added(os.environ, recommender, embedded=embedded, gpu=gpu)
        if zero is not None:
            lend(borrowers(recommender, extras, embedded=embedded), zero)
        page = build(recommender, embedded=embedded, extras=extras)
        page.launch(**launch_options(extras), prevent_thread_lock=True, quiet=True)
    except (LLMRecError, OSError) as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    print(f"{recommender.model.name} answers at {page.local_url}", flush=True)
    # A host ends it so, and the first process of a container would not even hear it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with extras.feedback or nullcontext():  # what waits is pushed at the end
        page.block_thread()
    return 0


def load(settings: Mapping[str, str], *, gpu: bool) -> tuple[Recommender, bool]:
    """The recommender that the variables ask for, and whether its model is the embedded one.

    Parameters
    ----------
    gpu: whether there is one, or will be when it is asked for.

    Raises
    ------
    LLMRecError: what they ask for cannot be loaded.
    """
    from llmrec.recommender import Recommender

    given = _given(settings)
    quantization = _quantization(given)
    model: str | LanguageModel | None = given.get("LLMREC_MODEL")
    adapter = given.get("LLMREC_ADAPTER")
    if endpoint := given.get("LLMREC_ENDPOINT"):
        if model or adapter:
            raise InputError(
                "LLMREC_ENDPOINT is set, and so is LLMREC_MODEL or LLMREC_ADAPTER: "
                "unset the one or the others"
            )
        model = _server(
            endpoint, given.get("LLMREC_ENDPOINT_MODEL"), given.get("LLMREC_ENDPOINT_ADAPTER")
        )
    elif (model or adapter) and not gpu and not _on(given, "LLMREC_ON_CPU"):
        print(
            f"There is no GPU here, so {model or adapter} is not loaded and the embedded model "
            "answers: ask for hardware with a GPU, or set LLMREC_ON_CPU=1 for a model that is "
            "small enough",
            flush=True,
        )
        model = adapter = quantization = None
    if isinstance(model, str) or model is None:
        print(f"Loading {' with '.join(filter(None, (model, adapter))) or 'llmrec'}", flush=True)
    embedded = model is None and adapter is None
    made = Recommender.from_pretrained(
        model,
        adapter,
        _catalog(given.get("LLMREC_CATALOG")),
        quantization=None if embedded else quantization,
        device="cpu" if embedded else "auto",  # ZeroGPU's is there only while it is borrowed
        ranker=given.get("LLMREC_RANKER"),
    )
    if embedded:
        import torch

        torch.set_num_threads(1)  # so small a model loses more by waiting than it gains
    return made, embedded


def added(
    settings: Mapping[str, str], recommender: Recommender, *, embedded: bool, gpu: bool
) -> Extras:
    """What the variables add to the talk.

    Raises
    ------
    LLMRecError: there is no such folder, no token for the data set, or a rival cannot be loaded.
    """
    from llmrec.demo import Extras, Feedback
    from llmrec.demo.rivals import contestants

    given = _given(settings)
    runs, dataset = given.get("LLMREC_RUNS"), given.get("LLMREC_FEEDBACK_DATASET")
    if runs and not Path(runs).is_dir():
        raise InputError(f"LLMREC_RUNS is {runs!r}, which is no folder: unset it, or name one")
    rivals = _listed(given, "LLMREC_RIVALS")
    if rivals and not gpu and not _on(given, "LLMREC_ON_CPU"):
        print(
            f"There is no GPU here, so no rival is loaded ({', '.join(rivals)}): ask for hardware "
            "with a GPU, or set LLMREC_ON_CPU=1 for models that are small enough",
            flush=True,
        )
        rivals = ()
    own = None if embedded else given.get("LLMREC_ADAPTER", given.get("LLMREC_MODEL"))
    return Extras(
        contestants(
            recommender, rivals, source=own, embedded=embedded, quantization=_quantization(given)
        ),
        Path(runs) if runs else None,
        Feedback(None, dataset) if dataset else None,
        given.get("LLMREC_UPLOADS", "1").lower() not in _NO,
        _listed(given, "LLMREC_PICTURES"),
        _on(given, "LLMREC_LINKS"),
    )


def _given(settings: Mapping[str, str]) -> dict[str, str]:
    return {k: v.strip() for k, v in settings.items() if k.startswith("LLMREC_") and v.strip()}


def _on(given: Mapping[str, str], name: str) -> bool:
    return given.get(name, "").lower() in _YES


def _listed(given: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in given.get(name, "").split(",") if part.strip())


def _quantization(given: Mapping[str, str]) -> Literal["4bit", "8bit"] | None:
    asked = given.get("LLMREC_QUANTIZATION")
    if asked not in (None, "4bit", "8bit"):
        raise InputError(f"LLMREC_QUANTIZATION is {asked!r}: use 4bit or 8bit, or unset it")
    return cast('Literal["4bit", "8bit"] | None', asked)


def lender(settings: Mapping[str, str]) -> Callable[..., Any] | None:
    """The decorator ``spaces.GPU`` where this runs on ZeroGPU."""
    if settings.get("SPACES_ZERO_GPU", "").lower() not in _YES or find_spec("spaces") is None:
        return None
    return cast("Callable[..., Any]", importlib.import_module("spaces").GPU)


def borrowers(recommender: Recommender, extras: Extras, *, embedded: bool) -> list[LocalModel]:
    """The models of this process that need a GPU: servers and the embedded one need none."""
    from llmrec.models.local import LocalModel

    everyone = (recommender, *(extras.contestants or {}).values())
    models = {id(r.model): r.model for r in everyone}
    if embedded:
        del models[id(recommender.model)]
    return [m for m in models.values() if isinstance(m, LocalModel)]


def lend(models: Sequence[Any], gpu: Callable[..., Any]) -> None:
    """Let models run in a process that ZeroGPU lends a GPU for some seconds, whenever they do.

    The process is a fork, and arguments and results go through pickles. So the seam is where a
    model runs alone: what it writes, and its tasks. The catalogue stays in the process that opened
    it, because LanceDB does not survive a fork.
    """
    if not models:
        gpu(duration=SHORTEST_S)(_nothing)  # ZeroGPU ends a Space that never borrows
        print("No model needs a GPU here: none is borrowed", flush=True)
        return
    import torch

    torch.set_num_threads(1)  # threads of OpenMP do not survive a fork either
    # The weights of all go there, whichever of them runs.
    weights = [p for m in models for p in m.model.parameters()]
    gigabytes = sum(p.numel() * p.element_size() for p in weights) / 2**30
    writing = gpu(duration=functools.partial(_writing_s, gigabytes))
    running = gpu(duration=functools.partial(_running_s, gigabytes))
    for model in models:
        model.generate = _clearly(writing(_task(model.generate)))
        model.stream = _piecewise(writing(_stream(model.stream)))
        model.run = _clearly(running(_task(model.run)))


def seconds(gigabytes: float, read: int = 0, written: int = 0) -> int:
    """For how long a GPU is asked: to bring the weights there, to read and to write tokens.

    ZeroGPU ends what takes longer, and lets those wait who ask for much: generous, and bounded.

    >>> seconds(0.01), seconds(14.0, 2000, 300), seconds(60.0, 100_000)
    (10, 58, 120)
    """
    wanted = 5 + 2 * gigabytes + read / 400 + written / 15
    return int(min(LONGEST_S, max(SHORTEST_S, wanted)))


def _writing_s(gigabytes: float, /, prompts: Any, *_: Any, **options: Any) -> int:
    said = repr(prompts)
    count = len(prompts) if isinstance(prompts, (list, tuple)) else 1
    return seconds(gigabytes, len(said) // 3, count * int(options.get("max_new_tokens", 256)))


def _running_s(gigabytes: float, /, _: Any, prompts: Any, trie: Any, *__: Any) -> int:
    # What of the trie is open is known inside only: a bound that holds for all of a small one.
    return seconds(gigabytes, sum(map(len, prompts)) + len(prompts) * min(trie.n_leaves, 5000))


def _task(method: Callable[..., Any]) -> Callable[..., Any]:
    """A plain function, which ``spaces`` looks up by itself.

    What the model refuses is given back: of an error, ``spaces`` says hardly more than its name.
    """

    def task(*args: Any, **options: Any) -> Any:
        try:
            return method(*args, **options)
        except (InputError, ModelError) as error:
            return error

    return task


def _stream(method: Callable[..., Iterator[str]]) -> Callable[..., Iterator[Any]]:
    """The same of a generator, by which ``spaces`` tells that pieces are to be sent."""

    def task(*args: Any, **options: Any) -> Iterator[Any]:
        try:
            yield from method(*args, **options)
        except (InputError, ModelError) as error:
            yield error

    return task


def _clearly(far: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        try:
            found = far(*args, **options)
        except Exception as error:  # of spaces: no quota, no GPU, or an error of the task
            raise _refused(error) from None
        if isinstance(found, LLMRecError):
            raise found
        return found

    return call


def _piecewise(far: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[str]]:
    def call(*args: Any, **options: Any) -> Iterator[str]:
        try:
            for piece in far(*args, **options):
                if isinstance(piece, LLMRecError):
                    raise piece
                yield piece
        except LLMRecError:
            raise
        except Exception as error:
            raise _refused(error) from None

    return call


def _refused(error: Exception) -> ModelError:
    said = " ".join(str(error).split()) or type(error).__name__
    print(f"ZeroGPU: {said}", file=sys.stderr, flush=True)
    return ModelError(f"no GPU did the work ({said}): try again in some minutes")


def _nothing() -> None:
    """What ZeroGPU is shown where nothing borrows."""


def _server(address: str, model: str | None, adapter: str | None) -> LanguageModel:
    from llmrec.models.endpoint import Endpoint

    return Endpoint(address, model=model, adapter=adapter)


def _catalog(named: str | None) -> str | None:
    """The folder of the catalogue, which may have to be fetched."""
    if named is None or "://" in named or Path(named).is_dir():
        return named
    here = Path(__file__).resolve().parent / named
    if here.is_dir():
        return str(here)
    from llmrec.hub import pull

    return str(pull(named, kind="dataset", allow=["*"]))


def _has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available() or torch.backends.mps.is_available())


if __name__ == "__main__":
    raise SystemExit(main())
