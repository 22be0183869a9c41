"""Export a model: an adapter merged into its base, GGUF for llama.cpp, a Modelfile for Ollama.

    python train/export.py --out exported --merge --gguf f16 q8_0 q4_k_m

    python train/export.py --adapter runs/my-adapter --out exported --gguf q8_0 --lora-gguf \
        --ollama my-model

The base is the one that the adapter names, or the embedded model if there is no adapter. The
folder is written whole or not at all. `docs/export.md` tells what each file is for.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmrec.errors import InputError
from llmrec.hub import push_folder, ready_to_push
from llmrec.options import script
from llmrec.training.exporting import ExportOptions, export


def make_parser() -> argparse.ArgumentParser:
    """The options; those of ExportOptions are flags of the same names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="the folder to make; a former export is replaced")
    add("--adapter", default="", help="folder or Hub id of a LoRA adapter")
    add("--base", default="", help="folder or Hub id of the base, if not the adapter's own")
    add("--merge", action="store_true", help="write the whole model, the adapter in its weights")
    add("--gguf", nargs="+", default=(), metavar="KIND", help="f16, q8_0, q4_k_m, ...")
    add("--lora-gguf", action="store_true", help="the adapter as a GGUF file beside the base's")
    add("--dtype", default="auto", help="of the weights: auto (the base's), float32, bfloat16, ...")
    add("--chat-template-from", default="", help="take the chat template of this tokenizer")
    add("--llama-cpp", default="", help="a checkout of llama.cpp; fetched with pip if not given")
    add("--pre-tokenizer", default="", help="llama.cpp's name for it; found out if not given")
    add("--ollama", metavar="NAME", help="create this model in Ollama from the Modelfile")
    add("--push-to-hub", metavar="USER/NAME", help="push the folder to the Hugging Face Hub")
    add("--private", action="store_true", help="as a private repository")
    return parser


def report(record: dict[str, Any]) -> str:
    """What was written, one line a file with its bytes."""
    lines = [f"{record.get('adapter') or 'no adapter'} on {record['base']}, {record['dtype']}"]
    lines += [f"{size:>14,}  {name}" for name, size in record["files"].items()]
    if tokens := record.get("tokens"):
        lines.append(
            f"llama.cpp splits {tokens['agreeing']} of {tokens['texts']} texts into the same tokens"
            + (f" (as {tokens['pre_tokenizer']})" if tokens["pre_tokenizer"] else "")
        )
        lines += [f"  not {text!r}" for text in tokens["differing"]]
    return "\n".join(lines)


def create_in_ollama(name: str, out: Path) -> int:
    """Run ``ollama create``, or say how where there is no Ollama; its exit code."""
    command = ["ollama", "create", name, "-f", str(out / "Modelfile")]
    if shutil.which("ollama") is None:
        print(f"Ollama is not installed here; where it is: {shlex.join(command)}", file=sys.stderr)
        return 1
    return subprocess.run(command).returncode  # noqa: S603


@script("export")
def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 when done, 1 if it cannot be done."""
    flags = vars(make_parser().parse_args(argv))
    out, ollama = flags.pop("out"), flags.pop("ollama")
    repo, private = flags.pop("push_to_hub"), flags.pop("private")
    flags["gguf"] = tuple(flags["gguf"])
    options = ExportOptions(**flags)
    if ollama and not options.gguf:
        raise InputError("ollama needs a GGUF file: ask for one, as in --gguf q8_0")
    if repo:
        ready_to_push(repo)
    print(report(export(options, out)))
    if repo:
        print(push_folder(out, repo, private=private or None))
    return create_in_ollama(ollama, out) if ollama else 0


if __name__ == "__main__":
    sys.exit(main())
