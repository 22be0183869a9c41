"""Converting hides llama.cpp: how a model or a LoRA adapter becomes a GGUF file that runs alike.

The converter is a set of scripts of llama.cpp that no package installs: they come with the source
distribution of llama-cpp-python, which is fetched once, or with a checkout that you name.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmrec.errors import InputError, MissingExtraError, ModelError
from llmrec.folders import replacing, restore

__all__ = ["Agreement", "check_kinds", "converter_folder", "lora_to_gguf", "to_gguf"]

ENVIRONMENT = "LLMREC_LLAMA_CPP"
_SCRIPTS = ("convert_hf_to_gguf.py", "convert_lora_to_gguf.py")
_PARTS = (*_SCRIPTS, "conversion/", "gguf-py/gguf/", "LICENSE")
_WRITTEN = ("f32", "f16", "bf16")  # by the converter itself; the others are quantised from one
# One of each kind of splitting that llama.cpp knows, the commonest first.
_PRE_TOKENIZERS = tuple(
    "gpt-2 llama-bpe qwen2 deepseek-v3 starcoder falcon default gpt-4o tekken bloom viking "
    "deepseek-llm deepseek-coder qwen35 ufakzeka minicpm5 laguna".split()
)
_DIFFERING = 0.1  # share of the texts above which a file is of no use
_TEXTS = (
    "I don't like it, it's 12345 or 1999!! 3.14 and 2,000; (2001)...",
    "Poderia indicar filmes de ação de até 2 horas? Não, obrigado.",
    "¿Una película de los años '90, por favor? ¡Sí, mañana!",
    "R$ 1.234,56 — coração, pingüino, Wong Kar-wai's “Chungking Express” 🍿",
    "推荐一部好看的恐怖片。千と千尋の神隠し",
    "Фильмы 2010-х; ταινίες; أفلام",
    '{"genres": ["Comedy", "Sci-Fi"], "year_min": 1990}',
    "1. Heat (1995)\n2. Alien\n\n- Her\n\n\nThe end",
    "tabs\tand\t\ttabs, MiXeD CaSe WORDS, snake_case, a/b\\c, x=y+z",
    " a space before",
    "two  spaces   three",
    "a space after ",
    "line\r\nline\n",
)


@dataclass(frozen=True)
class Agreement:
    """How llama.cpp splits texts into tokens compared with transformers.

    Attributes
    ----------
    pre_tokenizer: the name it was given where the converter did not know it, else empty.
    agreeing, texts: of so many texts in three languages, so many gave the same tokens.
    differing: the first texts that did not.
    """

    pre_tokenizer: str
    agreeing: int
    texts: int
    differing: tuple[str, ...] = ()


def converter_folder(path: str | os.PathLike[str] | None = None) -> Path:
    """The folder with llama.cpp's converter scripts.

    Parameters
    ----------
    path: a checkout of llama.cpp; else the one that LLMREC_LLAMA_CPP names, else the scripts that
        belong to the installed llama-cpp-python, fetched with pip once (some 80 MB).

    Raises
    ------
    InputError: the folder named holds no converter.
    MissingExtraError: llama-cpp-python is not installed. ModelError: they cannot be fetched.
    """
    named = path or os.environ.get(ENVIRONMENT)
    if named:
        folder = Path(named).expanduser()
        if absent := [s for s in _SCRIPTS if not (folder / s).is_file()]:
            raise InputError(
                f"the folder {str(named)!r} has no {absent[0]}: give a checkout of llama.cpp"
            )
        return folder.resolve()
    version = str(_llama_cpp().__version__).partition("+")[0]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    folder = cache / "llmrec" / f"llama.cpp-{version}"
    restore(folder)
    if not folder.is_dir():
        _fetch(version, folder)
    return folder


def _fetch(version: str, folder: Path) -> None:
    wanted = f"llama-cpp-python=={version}"
    with tempfile.TemporaryDirectory() as temporary:
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--dest", temporary]
        only = ["--no-binary", "llama-cpp-python"]
        code, said = _run([sys.executable, "-m", "pip", "download", *options, *only, wanted])
        archives = list(Path(temporary).glob("*.tar.gz"))
        if code or not archives:
            raise ModelError(
                f"the source of {wanted}, which holds the converter, cannot be fetched with pip "
                f"({_last_line(said)}): name a checkout of https://github.com/ggml-org/llama.cpp "
                f"with --llama-cpp or {ENVIRONMENT}"
            )
        with replacing(folder) as part:
            _unpack(archives[0], part)
            if absent := [s for s in _SCRIPTS if not (part / s).is_file()]:
                raise ModelError(
                    f"the source of {wanted} holds no {absent[0]}: install another version of "
                    f"llama-cpp-python, or name a checkout of llama.cpp with {ENVIRONMENT}"
                )


def _unpack(archive: Path, part: Path) -> None:
    with tarfile.open(archive) as tar:
        for member in tar:
            inner = member.name.partition("/vendor/llama.cpp/")[2]
            if member.isfile() and inner.startswith(_PARTS):
                tar.extract(member.replace(name=inner, deep=False), part, filter="data")


def check_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """The kinds of GGUF asked for, each once. Raises InputError for one that does not exist."""
    known = _file_types()
    for kind in kinds:
        if kind not in known:
            raise InputError(
                f"there is no GGUF kind {kind!r}: use f16, q8_0, q4_k_m, "
                f"or another of {', '.join(sorted(known))}"
            )
    return tuple(dict.fromkeys(kinds))


def _file_types() -> dict[str, int]:
    prefixes = ("LLAMA_FTYPE_MOSTLY_", "LLAMA_FTYPE_ALL_")
    names = {n: v for n, v in vars(_llama_cpp()).items() if n.startswith(prefixes)}
    return {n.split("_", 3)[3].lower(): int(v) for n, v in names.items()}


def to_gguf(
    model: Path,
    out: Path,
    kinds: Sequence[str] = ("f16",),
    *,
    llama_cpp: str | os.PathLike[str] | None = None,
    pre_tokenizer: str | None = None,
) -> Agreement:
    """Write ``model-KIND.gguf`` into the folder ``out`` for each kind.

    Where the converter does not know how the tokenizer splits a text before its merges, the
    splitting that agrees with transformers on the most texts is named in the file.

    Parameters
    ----------
    model: a folder as ``save_pretrained`` writes it, with its tokenizer.
    llama_cpp: a checkout of llama.cpp, see ``converter_folder``.
    pre_tokenizer: name the splitting, as llama.cpp calls it.

    Raises
    ------
    InputError: a kind that does not exist. ModelError: llama.cpp cannot take the model.
    MissingExtraError: llama-cpp-python or sentencepiece is not installed.
    """
    kinds = check_kinds(kinds)
    folder = converter_folder(llama_cpp)
    with tempfile.TemporaryDirectory(dir=out) as part:
        agreement = _write(model, Path(part), kinds, folder, pre_tokenizer or "")
        for kind in kinds:
            (Path(part) / _file(kind)).replace(out / _file(kind))
    return agreement


def _file(kind: str) -> str:
    return f"model-{kind}.gguf"


def _write(model: Path, out: Path, kinds: Sequence[str], folder: Path, named: str) -> Agreement:
    def convert(kind: str, named: str) -> bool:
        arguments = ["--outtype", kind, "--outfile", str(out / _file(kind)), str(model)]
        return _convert(folder, "convert_hf_to_gguf", arguments, named)

    first, *others = [k for k in kinds if k in _WRITTEN] or ["f16"]
    unknown = convert(first, named)
    agreement = _agreement(model, out / _file(first), named, search=unknown)
    if unknown and agreement.pre_tokenizer != _PRE_TOKENIZERS[0]:
        convert(first, agreement.pre_tokenizer)
    for kind in others:
        convert(kind, agreement.pre_tokenizer)
    for kind in kinds:
        if kind not in _WRITTEN:
            _quantize(out / _file(first), out / _file(kind), kind)
    return agreement


def lora_to_gguf(
    adapter: Path,
    base: Path,
    out: Path,
    *,
    llama_cpp: str | os.PathLike[str] | None = None,
) -> Path:
    """Write a LoRA adapter as the GGUF file ``out``, to be loaded on top of its base's.

    Parameters
    ----------
    adapter: a folder as peft writes it. base: a folder with the config of its base model.

    Raises
    ------
    ModelError: llama.cpp cannot take the adapter.
    """
    arguments = ["--base", str(base), "--outtype", "f32", "--outfile", str(out), str(adapter)]
    _convert(converter_folder(llama_cpp), "convert_lora_to_gguf", arguments, "")
    return out


def _convert(folder: Path, script: str, arguments: Sequence[str], named: str) -> bool:
    """Run a converter; whether it did not know the pre-tokenizer."""
    from llmrec.training import _converter

    if importlib.util.find_spec("sentencepiece") is None:
        raise MissingExtraError("sentencepiece", "gguf")
    runner = str(Path(_converter.__file__))
    fixed = [sys.executable, runner, str(folder), script, named, _PRE_TOKENIZERS[0]]
    code, said = _run([*fixed, *arguments])
    if code:
        raise ModelError(
            f"llama.cpp cannot convert {Path(arguments[-1]).name} ({_last_line(said)}): "
            "newer versions of llama-cpp-python know more models"
        )
    return _converter.UNKNOWN in said


def _agreement(model: Path, file: Path, named: str, *, search: bool) -> Agreement:
    from transformers import AutoTokenizer

    texts = _probe_texts()
    tokenizer: Any = AutoTokenizer.from_pretrained(model, local_files_only=True)
    right = {t: tokenizer(t, add_special_tokens=False)["input_ids"] for t in texts}
    best, fewest = "", None
    for name in _PRE_TOKENIZERS if search else (named,):
        found = _differing(file, right, name if search else "", fewest)
        if found is not None and (fewest is None or len(found) < len(fewest)):
            best, fewest = name, found
    if fewest is None and named:
        raise InputError(
            f"llama.cpp knows no pre-tokenizer {named!r}: leave it out, and the best one is found"
        )
    if fewest is None:
        raise ModelError(
            f"llama.cpp cannot read {file.name}, which its converter wrote: update llama-cpp-python"
        )
    if len(fewest) > _DIFFERING * len(right) and not named:
        raise ModelError(
            f"llama.cpp splits {len(fewest)} of {len(right)} texts into other tokens than "
            f"transformers, as in {fewest[0]!r}, so that the model would not understand it: "
            "it has no counterpart of this tokenizer, unless you know its name (pre_tokenizer)"
        )
    return Agreement(best, len(right) - len(fewest), len(right), tuple(fewest[:5]))


def _probe_texts() -> list[str]:
    from llmrec.training.conversations import phrasings

    texts = list(dict.fromkeys(p.text for p in phrasings()))
    return [*_TEXTS, *texts[:: max(len(texts) // 300, 1)]]


def _differing(
    file: Path, right: Mapping[str, Sequence[int]], named: str, fewest: Sequence[str] | None
) -> list[str] | None:
    """The texts that llama.cpp splits otherwise; None if not fewer than ``fewest``."""
    overrides = {"tokenizer.ggml.pre": named} if named else None
    out: list[str] = []
    with _quiet() as llama_cpp:
        try:
            model = llama_cpp.Llama(
                str(file), vocab_only=True, verbose=False, kv_overrides=overrides
            )
        except ValueError:
            return None
        try:
            for text, ids in right.items():
                if fewest is not None and len(out) >= len(fewest):
                    return None
                if model.tokenize(text.encode(), add_bos=False, special=True) != ids:
                    out.append(text)
        finally:
            model.close()
    return out


def _quantize(source: Path, out: Path, kind: str) -> None:
    with _quiet() as llama_cpp:
        options = llama_cpp.llama_model_quantize_default_params()
        options.ftype = _file_types()[kind]
        names = str(source).encode(), str(out).encode()
        code = llama_cpp.llama_model_quantize(*names, ctypes.byref(options))
    if code:
        raise ModelError(
            f"llama.cpp cannot quantise the model to {kind}, which may need more than the weights: "
            "take another kind, such as q8_0 or q4_k_m"
        )


def _llama_cpp() -> Any:
    try:
        return importlib.import_module("llama_cpp")
    except ImportError:
        raise MissingExtraError("llama-cpp-python", "gguf") from None
    except (OSError, RuntimeError) as e:
        raise ModelError(
            f"llama-cpp-python cannot be loaded ({e}): install it again for this machine"
        ) from e


@contextlib.contextmanager
def _quiet() -> Iterator[Any]:
    """llama_cpp, which does not write to the terminal in this block."""
    llama_cpp = _llama_cpp()
    silent = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(silent, None)
    try:
        yield llama_cpp
    finally:
        usual = importlib.import_module("llama_cpp._logger").llama_log_callback
        llama_cpp.llama_log_set(usual, None)


def _run(command: Sequence[str]) -> tuple[int, str]:
    done = subprocess.run(  # noqa: S603
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "HF_HUB_OFFLINE": "1"},
    )
    return done.returncode, done.stdout


def _last_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return (lines[-1] if lines else "it said nothing")[:300].rstrip(". ")
