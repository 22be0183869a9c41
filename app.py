"""Open the page: talk to a recommender in the browser.

    python app.py
    python app.py --model google/gemma-2-2b-it --quantization 4bit --catalog films.lance

Without options it needs no network: model and films come with llmrec.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from llmrec.demo import Extras, Feedback, build, launch_options
from llmrec.demo.rivals import contestants
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
    parser.add_argument(
        "--rival", action="append", default=[], metavar="MODEL",
        help="another model that visitors compare with it blind; may be given again",
    )  # fmt: skip
    parser.add_argument("--runs", type=Path, help="a folder with evaluation runs to show")
    parser.add_argument("--feedback", type=Path, metavar="FOLDER",
                        help="keep likes and votes of visitors who agree here")  # fmt: skip
    parser.add_argument("--feedback-dataset", metavar="OWNER/NAME", help="or in a Hub data set")
    parser.add_argument("--no-uploads", action="store_true", help="visitors bring no catalogues")
    parser.add_argument(
        "--pictures", action="append", default=[], metavar="HOST",
        help="show the items' pictures that come from this host; may be given again",
    )  # fmt: skip
    parser.add_argument("--list-links", action="store_true", help="a list can be shared by a link")
    parser.add_argument("--quantization", choices=("4bit", "8bit"), help="load the weights so")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--share", action="store_true", help="a public link through gradio.live")
    return parser


def _extras(options: argparse.Namespace, recommender: Recommender) -> Extras:
    """What the options add to the page."""
    kept = options.feedback or options.feedback_dataset
    return Extras(
        contestants(
            recommender,
            options.rival,
            source=options.adapter or options.model,
            embedded=options.model is None,
            quantization=options.quantization,
        ),
        options.runs,
        Feedback(options.feedback, options.feedback_dataset) if kept else None,
        not options.no_uploads,
        tuple(options.pictures),
        options.list_links,
    )


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
        extras = _extras(options, recommender)
        app = build(recommender, embedded=options.model is None, extras=extras)
        _, address, public = app.launch(
            **{**launch_options(extras), "share": options.share},
            server_name=options.host,
            server_port=options.port,
            prevent_thread_lock=True,
            quiet=True,
        )
    except (LLMRecError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Open {address}" + (f" or {public}" if public else "") + " (Ctrl+C ends it)", flush=True)
    try:
        app.block_thread()
    finally:
        if extras.feedback is not None:
            extras.feedback.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
