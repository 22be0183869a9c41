"""Runs a converter of llama.cpp on what transformers saves, and names unknown pre-tokenizers.

A script of its own: ``converting`` starts it in a process apart, with llama.cpp's modules first.
"""

from __future__ import annotations

import importlib
import runpy
import sys
from typing import Any

UNKNOWN = "llmrec: the pre-tokenizer is not known to the converter"
METHOD = "get_vocab_base_pre"
DRAFTS = "no_mtp"


def _owners(name: str) -> list[Any]:
    """The classes of the converter that have something of their own by this name."""
    modules = list(sys.modules.values())
    classes = {c for m in modules for c in vars(m).values() if isinstance(c, type)}
    return [c for c in classes if name in vars(c)]


def name_pre_tokenizer(named: str, fallback: str) -> None:
    """Make every class of the converter answer ``named``, or ``fallback`` where it knows none."""
    for owner in _owners(METHOD):
        setattr(owner, METHOD, _answer(vars(owner)[METHOD], named, fallback))


def leave_drafts_out() -> None:
    """Do without the heads that draft tokens ahead, which transformers neither loads nor saves."""
    for owner in _owners(DRAFTS):
        setattr(owner, DRAFTS, True)


def _answer(known: Any, named: str, fallback: str) -> Any:
    def answer(self: Any, tokenizer: Any) -> str:
        if named:
            return named
        try:
            return str(known(self, tokenizer))
        except NotImplementedError:
            print(UNKNOWN)
            return fallback

    return answer


def main() -> None:
    """Arguments: llama.cpp's folder, the script, a name or "", a fallback, the script's own."""
    folder, script, named, fallback, *arguments = sys.argv[1:]
    sys.path[0:1] = [folder, f"{folder}/gguf-py"]
    sys.argv = [script, *arguments]
    models = importlib.import_module("convert_hf_to_gguf")
    name_pre_tokenizer(named, fallback)
    leave_drafts_out()
    if script == models.__name__:
        models.main()
    else:
        runpy.run_path(f"{folder}/{script}.py", run_name="__main__")


if __name__ == "__main__":
    main()
