"""Show one metric on its Space: the inputs as JSON, filled with the example of its docstring.

    python eval/metrics/push.py me/recall_at_k
    python eval/metrics/app.py eval/metrics/recall_at_k

`evaluate.utils.launch_gradio_widget` is not used, as it needs a Gradio below 4.
"""

from __future__ import annotations

import argparse
import ast
import doctest
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import gradio as gr


def example_of(metric: Any) -> dict[str, Any]:
    """The inputs of the worked example in the docstring of a metric."""
    for step in doctest.DocTestParser().get_examples(metric.inputs_description):
        for node in ast.walk(ast.parse(step.source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "metric.compute":
                return {str(k.arg): ast.literal_eval(k.value) for k in node.keywords}
    return {}


def compute(metric: Any, text: str) -> dict[str, Any]:
    """The result of a metric for inputs that are written as a JSON object.

    Raises
    ------
    ValueError: the text is no such object, or the metric cannot use it; it says why.
    """
    try:
        inputs = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise ValueError(f"this is not JSON: {e}") from None
    if not isinstance(inputs, dict):
        raise ValueError('this is no JSON object: write {"predictions": [...], ...}')
    if missing := [name for name in metric.features if name not in inputs]:
        raise ValueError(f"there is no {missing[0]!r}: it needs {', '.join(metric.features)}")
    try:
        found = metric.compute(**inputs)
    except TypeError as e:  # an argument that is missing, or unknown
        raise ValueError(str(e)) from None
    # NaN is no JSON.
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in found.items()}


def make_page(folder: Path) -> gr.Blocks:
    """The page of the metric whose module and card lie in a folder."""
    import evaluate
    import gradio as gr
    from huggingface_hub import RepoCard

    module = next(p for p in sorted(folder.glob("*.py")) if p.name != "app.py")
    metric = evaluate.load(str(module))

    def answer(text: str) -> dict[str, Any]:
        try:
            return compute(metric, text)
        except ValueError as e:
            raise gr.Error(str(e)) from None

    page: gr.Blocks
    with gr.Blocks(title=module.stem) as page:
        text = gr.Code(json.dumps(example_of(metric), indent=1), language="json", label="inputs")
        button = gr.Button("Compute", variant="primary")
        button.click(answer, text, gr.JSON(label="result"), api_name="compute")
        gr.Markdown(RepoCard.load(folder / "README.md").text)
    return page


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    here = Path(__file__).resolve().parent
    parser.add_argument("folder", nargs="?", type=Path, default=here, help="of a metric")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the page until it is stopped."""
    make_page(make_parser().parse_args(argv).folder).launch()
    return 0


if __name__ == "__main__":
    sys.exit(main())
