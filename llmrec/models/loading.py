"""Loading hides how models and adapters are found and read, and their errors as sentences."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from llmrec.errors import InputError, LLMRecError, MissingExtraError, ModelError
from llmrec.models.files import HUB_ID, find_file
from llmrec.models.profile import Profile

__all__ = [
    "EMBEDDED",
    "EMBEDDED_NAME",
    "Origin",
    "bare",
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
    "gguf": "gguf",
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
            raise MissingExtraError(package, _EXTRAS.get(package, "train"))


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

    wrong = (ValueError, LookupError, TypeError, AttributeError, RuntimeError, AssertionError)
    try:
        yield
    except LLMRecError:
        raise
    except ImportError as e:
        for package, extra in _EXTRAS.items():
            if re.search(rf"\b{package}\b(?!-)", str(e).lower()):
                raise MissingExtraError(package, extra) from e
        raise ModelError(f"the {what} of {source} needs a package: {_first_line(e)}") from e
    except (OSError, *wrong, SafetensorError) as e:
        if "gguf" in str(e).lower() and "not supported" in str(e):
            raise ModelError(
                f"the {what} of {source} cannot be read from GGUF ({_first_line(e)}): use the "
                "safetensors of the model"
            ) from e
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
    gguf: str = "",
) -> Any:
    """The network of a folder or repository, on its device. Raises ModelError.

    gguf: the file that holds it; it is unpacked, and read without running anything of the Hub.
    """
    import torch
    from transformers import AutoModelForCausalLM

    options: dict[str, Any] = {"use_safetensors": True, "output_loading_info": True, **hub}
    if gguf:
        options |= {**_gguf(source, gguf, hub), "ignore_mismatched_sizes": True}  # told below
        dtype = ("float32" if device == "cpu" else "bfloat16") if dtype == "auto" else dtype
    else:
        _check_folder(source)
        _check_quantization(source, quantization, hub)
    options["adapter_kwargs"] = {"local_files_only": hub["local_files_only"]}
    options["dtype"] = "auto" if dtype == "auto" else getattr(torch, dtype)
    if attn_implementation is not None:
        options["attn_implementation"] = attn_implementation
    if quantization is not None or (device != "cpu" and importlib.util.find_spec("accelerate")):
        options["device_map"] = {"": device}  # straight to its place, not by way of the host
    if quantization is not None:
        options["quantization_config"] = _bits(quantization, dtype, device)
    with clearly("model", source):
        with _ONE_AT_A_TIME, _attending(attn_implementation):
            loaded: Any = AutoModelForCausalLM.from_pretrained(source, **options)
        model, found = loaded
        wrong = [*found["missing_keys"], *(k[0] for k in found["mismatched_keys"])]
        if wrong:
            alone = gguf and "config" not in options
            raise ModelError(
                f"the model of {source} is damaged: {len(wrong)} of its weights are missing or of "
                f"another shape ({min(wrong)}): "
                + ("put its config.json beside the file" if alone else "get the folder again")
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


@contextlib.contextmanager
def _attending(how: str | None) -> Iterator[None]:
    """What transformers says of a kind of attention that is not to be had, as one sentence."""
    try:
        yield
    except (ImportError, ValueError) as e:
        if how is None or not re.search("attention|attn|kernels", str(e), re.IGNORECASE):
            raise
        raise ModelError(
            f"attn_implementation {how!r} cannot be used here ({_first_line(e)}): install what it "
            "needs, or leave it out"
        ) from e


def _bits(quantization: str, dtype: str, device: str) -> Any:
    import torch
    from transformers import BitsAndBytesConfig

    if quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)  # type: ignore[no-untyped-call]
    compute = torch.float32 if device == "cpu" else torch.bfloat16
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute if dtype == "auto" else getattr(torch, dtype),
    )


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


@dataclass
class Origin:
    """Where a model came from, for what it and its adapters bring besides weights.

    Parameters
    ----------
    source: folder or Hub id. hub: revision, local_files_only and the like, as transformers asks.
    gguf: the file of it that holds the weights; empty: it has safetensors.
    chat_template_from: folder or Hub id of the tokenizer whose chat template all of them have.
    """

    source: str
    hub: dict[str, Any]
    gguf: str = ""
    chat_template_from: str | os.PathLike[str] | None = None

    @property
    def label(self) -> str:
        """What to show the user."""
        if Path(self.source) == EMBEDDED:
            return EMBEDDED_NAME
        name = Path(self.source).name if Path(self.source).is_dir() else self.source
        return f"{name}/{self.gguf}" if self.gguf else name

    @cached_property
    def tokenizer(self) -> Any:
        """The model's tokenizer. Raises ModelError."""
        given = dict(self.hub)
        if self.gguf and not find_file(self.source, "tokenizer_config.json", **_where(given)):
            given["gguf_file"] = self.gguf
        return self._tokenizer(self.source, given)

    @cached_property
    def profile(self) -> Profile | None:
        """How the model is used; None where it does not say. Raises ModelError."""
        return Profile.read(self.source, **_where(self.hub))

    def brought(self, adapter: str, **hub: Any) -> tuple[Any, Profile | None]:
        """The tokenizer and the profile that an adapter brings, None for what it does not.

        Raises
        ------
        ModelError: they cannot be read.
        """
        tokenizer = None
        if find_file(adapter, "tokenizer_config.json", **hub) is not None:
            tokenizer = self._tokenizer(adapter, hub)
        return tokenizer, Profile.read(adapter, **hub)

    def _tokenizer(self, place: str, options: dict[str, Any]) -> Any:
        from transformers import AutoTokenizer

        with clearly("tokenizer", place):
            tokenizer = AutoTokenizer.from_pretrained(place, **options)
        if self.chat_template_from is not None:
            tokenizer.chat_template = self._chat_template
        return tokenizer

    @cached_property
    def _chat_template(self) -> str:
        from transformers import AutoTokenizer

        other = source_of("chat template", self.chat_template_from or "")
        with clearly("chat template", other):
            taken = AutoTokenizer.from_pretrained(
                other,
                trust_remote_code=False,
                local_files_only=self.hub.get("local_files_only", False),
            ).chat_template
        if not taken:
            raise ModelError(
                f"{other} has no chat template: name a tokenizer that has one, "
                "or leave chat_template_from out"
            )
        return str(taken)


def _where(hub: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in hub.items() if k in ("revision", "local_files_only")}


def _gguf(source: str, file: str, hub: dict[str, Any]) -> dict[str, Any]:
    """What transformers is told to read a GGUF file. Raises ModelError.

    What the file says of the architecture is less than a ``config.json`` does, so one that lies
    beside it is believed.
    """
    import transformers

    need("accelerate")
    where = _where(hub)
    found = find_file(source, file, **where)
    if found is None:
        near = sorted(p.name for p in Path(source).glob("*.gguf")) if Path(source).is_dir() else []
        raise ModelError(
            f"there is no file {file!r} in {source}"
            + (f": it has {', '.join(near)}" if near else ": check the name")
        )
    options: dict[str, Any] = {"gguf_file": file}
    if find_file(source, "config.json", **where) is not None:
        with clearly("model", source):
            config = transformers.AutoConfig.from_pretrained(source, **hub)
            options["config"] = _as_a_llama(config) if config.model_type == "mistral" else config
    else:
        _check_alone(found)
    if hasattr(transformers, "GgufConfig"):
        options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    return options


def _as_a_llama(mistral: Any) -> Any:
    """What llama.cpp writes a Mistral as; it is one up to the length of its window."""
    from transformers import LlamaConfig

    said = {k: v for k, v in mistral.to_dict().items() if k not in ("model_type", "architectures")}
    if (window := said.pop("sliding_window")) is not None:
        said["max_position_embeddings"] = min(window, said["max_position_embeddings"])
    return LlamaConfig(**said)


def _check_alone(file: Path) -> None:
    """Raise ModelError for a file that transformers would not read as it is meant."""
    with clearly("model", str(file)):
        from gguf import GGUFReader

        reader = GGUFReader(file)

        def told(name: str) -> Any:
            field = reader.fields.get(name)
            return None if field is None else field.contents()

        kind = str(told("general.architecture"))
        scaling = told(f"{kind}.rope.scaling.type")
        what = ""
        if scaling not in (None, "none") or any(
            t.name.startswith("rope_f") for t in reader.tensors
        ):
            what = "scales its positions"
        elif kind in ("gemma2", "gemma3"):
            if told(f"{kind}.attention.key_length") != 256:  # as in all but those of 27B
                what = "scales its attention"
        elif told(f"{kind}.attention.sliding_window"):
            what = "has a sliding window"
    if what:
        raise ModelError(
            f"{file} {what}, which transformers does not read from the file: put the "
            "config.json of the model that it was made from beside it"
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


def _check_quantization(source: str, wanted: str | None, hub: dict[str, Any]) -> None:
    """Raise for weights that are stored quantised, where they cannot be run or are to be again."""
    file = find_file(source, "config.json", **_where(hub))
    try:
        said = json.loads(file.read_text(encoding="utf-8")) if file is not None else {}
        held = str((said.get("quantization_config") or {}).get("quant_method", ""))
    except (OSError, ValueError, AttributeError):
        return  # transformers says what is wrong with it
    if held and wanted is not None:
        raise InputError(
            f"the model of {source} is quantised already ({held}): leave quantization out, or "
            "name the model that it was made from"
        )
    if held == "gptq":
        need("optimum", "gptqmodel")


def load_adapter(model: Any, adapter: str, name: str, *, biases: bool = False, **hub: Any) -> Any:
    """The network with one more adapter on it, not switched on if there were others.

    Where that fails the network is as it was.

    Parameters
    ----------
    biases: whether it may change biases of the base itself.
    hub: revision and local_files_only.

    Raises
    ------
    ModelError: it is no adapter, or one for another base.
    """
    import warnings

    from peft import PeftConfig, PeftModel, PeftModelForCausalLM

    folder = Path(adapter)
    if folder.is_dir() and not any((folder / f).is_file() for f in _ADAPTER_FILES):
        raise ModelError(
            f"the folder {adapter} holds no adapter ({_ADAPTER_FILES[0]} is missing): "
            "give a folder that training wrote"
        )
    with _ONE_AT_A_TIME, clearly("adapter", adapter), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # what peft uses of transformers
        config = PeftConfig.from_pretrained(adapter, **hub)
        _check_kind(adapter, config, biases)
        config.inference_mode = True
        made = model if isinstance(model, PeftModel) else None
        try:
            made = made or PeftModelForCausalLM(model, config, name)
            _mend_tokens(made)
            found = made.load_adapter(adapter, name, is_trainable=False, **hub)
            _check_keys(found, name)
        except (RuntimeError, ValueError, LookupError) as e:
            _undo(model, made, name)
            raise ModelError(
                f"the adapter {adapter} does not fit the model ({_first_line(e)}): "
                "use the base model that it was trained on"
            ) from e
        return made


def _mend_tokens(model: Any) -> None:
    """PEFT 0.21 wants tokens of its own of every adapter that comes after one that has some."""
    from peft.utils.other import TrainableTokensWrapper

    wrapper: Any = TrainableTokensWrapper

    def own(module: Any, adapter: str) -> Any:
        has = adapter in module._get_available_adapters()
        return wrapper.adapter_state_dict_load_map(module, adapter) if has else {}

    for module in model.modules():
        if isinstance(module, wrapper):
            module.adapter_state_dict_load_map = partial(own, module)


def _check_kind(adapter: str, config: Any, biases: bool) -> None:
    if config.is_prompt_learning or config.is_adaption_prompt:
        raise ModelError(
            f"the adapter {adapter} is of the kind {config.peft_type}, which is not run here: "
            "use a LoRA"
        )
    if getattr(config, "alora_invocation_tokens", None):
        raise ModelError(
            f"the adapter {adapter} is switched on by words of the text (activated LoRA), which "
            "is not run here: use a LoRA"
        )
    if not biases and getattr(config, "bias", "none") != "none":
        raise ModelError(
            f"the adapter {adapter} changes biases of the base itself, so it cannot be loaded "
            "beside others: give it as adapter= of from_pretrained"
        )


def _check_keys(found: Any, name: str) -> None:
    """PEFT drops weights that have no place, and leaves at random those that never came."""
    own = re.compile(rf"lora_\w+\.{re.escape(name)}(\.|$)")
    if missing := [k for k in found.missing_keys if own.search(k)]:
        raise ValueError(f"missing adapter keys: {min(missing)} and {len(missing) - 1} more")
    if found.unexpected_keys:
        more = len(found.unexpected_keys) - 1
        raise ValueError(f"it has weights for {min(found.unexpected_keys)} and {more} more places")


def _undo(model: Any, made: Any, name: str) -> None:
    """Take an adapter off again that could not be loaded."""
    if made is model:
        if name in model.peft_config:
            model.delete_adapter(name)
        return
    bare(model if made is None else made)


def bare(model: Any) -> Any:
    """The network without what PEFT has put into it."""
    base = model.unload() if hasattr(model, "unload") else model
    if hasattr(base, "peft_config"):
        del base.peft_config
    return base
