"""Loading hides how models and adapters are found and read, and their errors as sentences."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmrec.errors import InputError, LLMRecError, MissingExtraError, ModelError
from llmrec.models.files import HUB_ID, find_file

__all__ = [
    "EMBEDDED",
    "EMBEDDED_NAME",
    "adapter_tokenizer",
    "base_of",
    "clearly",
    "device_of",
    "load_adapter",
    "load_model",
    "need",
    "said_base",
    "source_of",
]

EMBEDDED = Path(__file__).parents[1] / "data" / "model"
EMBEDDED_NAME = "llmrec-embedded"  # what adapters for it call their base
_FLOAT32_PARAMETERS = 1_500_000_000  # up to here a CPU is quicker and exact with float32
_EXTRAS = {
    "gptqmodel": "gptq",
    "optimum": "gptq",
    "bitsandbytes": "train",
    "accelerate": "train",
}
_ADAPTER_FILES = ("adapter_model.safetensors", "adapter_model.bin")
# While it loads, transformers takes functions of its classes away, for all threads of the process:
# of two loads at once both find weights missing, and so do all later ones.
_ONE_AT_A_TIME = threading.Lock()


def need(*packages: str) -> None:
    """Raise MissingExtraError for the first of the packages that is not installed."""
    for package in packages:
        try:
            found = importlib.util.find_spec(package) is not None
        except ValueError:  # something stands in its place
            found = False
        if not found:
            raise MissingExtraError(package, "train")


def source_of(what: str, name: str | os.PathLike[str]) -> str:
    """The folder or Hub id, checked as far as that goes without the network."""
    path = Path(name).expanduser()
    if path.is_dir():
        return str(path)
    if path == EMBEDDED:
        raise ModelError(
            f"the embedded model is not in this installation ({path}): "
            "install llmrec again, or name a model of the Hub"
        )
    if not isinstance(name, str) or not HUB_ID.fullmatch(str(name)):
        raise ModelError(
            f"there is no {what} folder {str(name)!r}: give an existing folder, "
            "or the id of a repository on the Hugging Face Hub (owner/name)"
        )
    return str(name)


@contextlib.contextmanager
def clearly(what: str, source: str) -> Iterator[None]:
    """Any failure to load as one sentence."""
    from safetensors import SafetensorError

    known = (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError)
    try:
        yield
    except LLMRecError:
        raise
    except ImportError as e:
        for package, extra in _EXTRAS.items():
            if package in str(e).lower():
                raise MissingExtraError(package, extra) from e
        raise ModelError(f"the {what} of {source} needs a package: {_first_line(e)}") from e
    except (*known, SafetensorError) as e:
        where = "is damaged or incomplete" if Path(source).is_dir() else "was not found"
        raise ModelError(
            f"the {what} of {source} cannot be loaded ({_first_line(e)}): check the name and that "
            f"the network is there, or that the folder is whole; what was asked for {where}"
        ) from e


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1])
    return (said or type(error).__name__)[:200].rstrip(". ")


def device_of(device: str) -> str:
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as e:
        raise InputError(
            f"the device {device!r} cannot be used ({_first_line(e)}): use 'auto', 'cpu' or 'cuda'"
        ) from None
    return device


def load_model(
    source: str,
    dtype: str,
    device: str,
    quantization: str | None,
    attn_implementation: str | None,
    hub: dict[str, Any],
) -> Any:
    """The network of a folder or repository, on its device. Raises ModelError."""
    import torch
    from transformers import AutoModelForCausalLM

    _check_folder(source)
    options: dict[str, Any] = {"use_safetensors": True, "output_loading_info": True, **hub}
    options["adapter_kwargs"] = {"local_files_only": hub["local_files_only"]}
    options["dtype"] = "auto" if dtype == "auto" else getattr(torch, dtype)
    if attn_implementation is not None:
        options["attn_implementation"] = attn_implementation
    if quantization is not None or (device != "cpu" and importlib.util.find_spec("accelerate")):
        options["device_map"] = {"": device}  # straight to its place, not by way of the host
    if quantization is not None:
        from transformers import BitsAndBytesConfig

        compute = torch.float32 if device == "cpu" else torch.bfloat16
        compute = compute if dtype == "auto" else getattr(torch, dtype)
        options["quantization_config"] = (
            BitsAndBytesConfig(  # type: ignore[no-untyped-call]
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=compute,
            )
            if quantization == "4bit"
            else BitsAndBytesConfig(load_in_8bit=True)  # type: ignore[no-untyped-call]
        )
    with clearly("model", source):
        with _ONE_AT_A_TIME:
            loaded: Any = AutoModelForCausalLM.from_pretrained(source, **options)
        model, found = loaded
        wrong = [*found["missing_keys"], *(k[0] for k in found["mismatched_keys"])]
        if wrong:
            raise ModelError(
                f"the model of {source} is damaged: {len(wrong)} of its weights are missing or of "
                f"another shape ({min(wrong)}): get the folder again"
            )
        if quantization is None:
            small = sum(p.numel() for p in model.parameters()) <= _FLOAT32_PARAMETERS
            if dtype == "auto" and device == "cpu" and small and not _quantized(model):
                model = model.float()
            model = model if _quantized(model) else model.to(device)
        else:
            for module in model.modules():
                # bitsandbytes repacks these weights, and gradients through them are wrong then.
                if hasattr(module, "support_avx512bf16_for_cpu"):
                    module.support_avx512bf16_for_cpu = False
    return model


def base_of(
    name: str | os.PathLike[str], revision: str | None, local_files_only: bool
) -> tuple[str | None, str | None]:
    """The base model that an adapter names, and its revision; (None, None) if it is a model."""

    def find(file: str) -> Path | None:
        return find_file(name, file, revision=revision, local_files_only=local_files_only)

    file = find("adapter_config.json")
    if file is None or find("config.json") is not None:
        return None, None
    base, base_revision = said_base(file)
    if not base:
        raise ModelError(
            f"the adapter {name} does not name its base model: "
            "give the base first, and it as adapter=..."
        )
    return base, base_revision


def said_base(adapter_config: Path) -> tuple[str, str | None]:
    """The base and its revision that ``adapter_config.json`` names; ("", None) if it does not."""
    try:
        said = json.loads(adapter_config.read_text(encoding="utf-8"))
        base, revision = said["base_model_name_or_path"], said.get("revision")
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return "", None
    return (base, revision) if isinstance(base, str) else ("", None)


def adapter_tokenizer(adapter: str | os.PathLike[str] | None, local_files_only: bool) -> Any:
    """The tokenizer that an adapter brings, or None."""
    from transformers import AutoTokenizer

    if adapter is None:
        return None
    if find_file(adapter, "tokenizer_config.json", local_files_only=local_files_only) is None:
        return None
    return AutoTokenizer.from_pretrained(
        source_of("adapter", adapter), local_files_only=local_files_only
    )


def _quantized(model: Any) -> bool:
    return getattr(model, "quantization_method", None) is not None


def _check_folder(source: str) -> None:
    folder = Path(source)
    if not folder.is_dir():
        return
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"the folder {source} has no config.json, so it holds no model: "
            "give a folder that save_pretrained wrote"
        )
    if not any(folder.glob("*.safetensors")):
        pickled = [p.name for p in sorted(folder.iterdir()) if p.suffix in (".bin", ".pt", ".pth")]
        found = f"only {pickled[0]}, whose loading can run code" if pickled else "none"
        raise ModelError(
            f"the folder {source} has no safetensors weights ({found}): "
            "convert it with save_pretrained of a transformers you trust, or get the safetensors"
        )


def load_adapter(model: Any, adapter: str, local_files_only: bool) -> Any:
    """The network with an adapter on it. Raises ModelError."""
    import warnings

    from peft import PeftModel

    folder = Path(adapter)
    if folder.is_dir() and not any((folder / f).is_file() for f in _ADAPTER_FILES):
        raise ModelError(
            f"the folder {adapter} holds no adapter ({_ADAPTER_FILES[0]} is missing): "
            "give a folder that training wrote"
        )
    with _ONE_AT_A_TIME, clearly("adapter", adapter), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # what peft uses of transformers
        warnings.filterwarnings("error", message="Found missing adapter keys")
        try:
            return PeftModel.from_pretrained(
                model, adapter, is_trainable=False, local_files_only=local_files_only
            )
        except (RuntimeError, ValueError, UserWarning) as e:
            raise ModelError(
                f"the adapter {adapter} does not fit the model ({_first_line(e)}): "
                "use the base model that it was trained on"
            ) from e
