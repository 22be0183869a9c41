"""Open the page: talk to a recommender in the browser.

    python app.py
    python app.py --model google/gemma-2-2b-it --quantization 4bit --catalog films.lance

Without options it needs no network: model and films come with llmrec.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from llmrec.demo import build, launch_options
from llmrec.errors import LLMRecError
from llmrec.recommender import Recommender


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="a Hub id or folder; the embedded model without it")
    parser.add_argument("--adapter", help="a Hub id or folder of a LoRA adapter for the model")
    parser.add_argument("--catalog", help="a catalogue folder; the embedded films without it")
    parser.add_argument("--ranker", help="a Hub id or folder that train/ranker.py wrote")
    parser.add_argument("--quantization", choices=("4bit", "8bit"), help="load the weights so")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--share", action="store_true", help="a public link through gradio.live")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Load, open the page and serve it until interrupted; 1 if that cannot be."""
    options = make_parser().parse_args(argv)
    try:
        print("Loading the model and the catalogue ...", flush=True)
        recommender = Recommender.from_pretrained(
            options.model,
            options.adapter,
            options.catalog,
            quantization=options.quantization,
            ranker=options.ranker,
        )
        if options.model is None:
            import torch

            torch.set_num_threads(1)  # so small a model loses more by waiting than it gains
        app = build(recommender, embedded=options.model is None)
        _, address, public = app.launch(
            **{**launch_options(), "share": options.share},
            server_name=options.host,
            server_port=options.port,
            prevent_thread_lock=True,
            quiet=True,
        )
    except (LLMRecError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Open {address}" + (f" or {public}" if public else "") + " (Ctrl+C ends it)", flush=True)
    app.block_thread()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
