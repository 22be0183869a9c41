"""Exporting hides how a model leaves llmrec: merged, as GGUF for llama.cpp, with a Modelfile.

Everything of one export lies in one folder, which is there whole or not at all.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmrec.errors import InputError, ModelError
from llmrec.folders import public_name, replacing
from llmrec.models.files import find_file
from llmrec.models.loading import said_base
from llmrec.models.local import EMBEDDED_NAME, LocalModel
from llmrec.models.profile import Profile
from llmrec.training.converting import check_kinds, converter_folder, lora_to_gguf, to_gguf
from llmrec.training.modelfile import modelfile

__all__ = ["RECORD", "ExportOptions", "export"]

RECORD = "export.json"  # says what an export is made of, and that a folder is one
_DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class ExportOptions:
    """What is exported.

    Attributes
    ----------
    adapter: folder or Hub id of a LoRA adapter; empty: the base alone.
    base: folder or Hub id; empty: the one that the adapter names, else the embedded model.
    merge: write the whole model as transformers loads it, the adapter in its weights.
    gguf: kinds of GGUF files, such as f16, q8_0, q4_k_m. They hold the adapter too, unless
        ``lora_gguf`` puts it beside them.
    lora_gguf: write the adapter as a GGUF file of its own.
    dtype: of the weights written; "auto": that of the base. Sums are made in float32 and rounded
        once.
    chat_template_from: take the chat template of this tokenizer.
    llama_cpp: a checkout of llama.cpp, whose converter is used.
    pre_tokenizer: how the tokenizer splits texts, by llama.cpp's name; empty: found out.
    """

    adapter: str = ""
    base: str = ""
    merge: bool = False
    gguf: tuple[str, ...] = ()
    lora_gguf: bool = False
    dtype: str = "auto"
    chat_template_from: str = ""
    llama_cpp: str = ""
    pre_tokenizer: str = ""

    def __post_init__(self) -> None:
        if self.dtype not in _DTYPES:
            raise InputError(f"dtype is {self.dtype!r}: use {', '.join(_DTYPES)}")
        if not (self.merge or self.gguf or self.lora_gguf):
            raise InputError(
                "nothing is to be exported: ask for merge, for kinds of gguf, or for lora_gguf"
            )
        if self.lora_gguf and not self.adapter:
            raise InputError("lora_gguf writes an adapter, and none is given: name it as adapter")
        if self.lora_gguf and self.merge:
            raise InputError(
                "merge puts the adapter into the weights and lora_gguf beside them: choose one"
            )


def export(options: ExportOptions, out: Path) -> dict[str, Any]:
    """Write what is asked for into the folder ``out``; returns what its ``export.json`` says.

    A folder of that name is replaced if it is an export itself, and refused otherwise.

    Raises
    ------
    InputError: an option cannot be met. ModelError: the model or the adapter cannot be exported.
    MissingExtraError: a package is not installed.
    """
    _check_out(out)
    if options.gguf or options.lora_gguf:  # what is missing shows before the work
        check_kinds(options.gguf)
        converter_folder(options.llama_cpp or None)
    adapter = _adapter_folder(options.adapter) if options.adapter else None
    base, revision = _base(options.base, adapter)
    local = _load(options, base, revision)
    given = {k: v for k, v in dataclasses.asdict(options).items() if v} | {"base": base}
    record = {k: public_name(v) if isinstance(v, str) else v for k, v in given.items()}
    with replacing(out) as part, tempfile.TemporaryDirectory(dir=part) as temporary:
        # The converter names what it writes after the folder that it reads.
        name = base if options.lora_gguf else options.adapter or base
        model = Path(temporary) / "model" / Path(name).resolve().name
        plain = Path(temporary) / "lora" / Path(options.adapter).resolve().name
        if options.lora_gguf and adapter is not None:
            _write_plain(local, adapter, plain)
        record["dtype"] = _write_model(local, options, model)
        _copy_sentencepiece(options.adapter, base, revision, model)
        if options.gguf:
            record["tokens"] = _write_gguf(local, options, model, part)
        if options.lora_gguf:
            lora_to_gguf(plain, model, part / "adapter.gguf", llama_cpp=options.llama_cpp or None)
        for file in model.iterdir() if options.merge else ():
            file.rename(part / file.name)
        record["files"] = {f.name: f.stat().st_size for f in sorted(part.iterdir()) if f.is_file()}
        (part / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return record


def _write_gguf(
    local: LocalModel, options: ExportOptions, model: Path, part: Path
) -> dict[str, Any]:
    """The model as GGUF files and a Modelfile for the first; how texts are split compared."""
    agreement = to_gguf(
        model,
        part,
        options.gguf,
        llama_cpp=options.llama_cpp or None,
        pre_tokenizer=options.pre_tokenizer or None,
    )
    text = modelfile(
        local.chat,
        f"./model-{options.gguf[0]}.gguf",
        adapter="./adapter.gguf" if options.lora_gguf else "",
        generation=local.model.generation_config.to_dict(),
    )
    (part / "Modelfile").write_text(text, encoding="utf-8")
    return dataclasses.asdict(agreement)


def _check_out(out: Path) -> None:
    if out.is_dir() and ((out / RECORD).is_file() or not any(out.iterdir())):
        return
    if out.exists():
        raise InputError(
            f"{str(out)!r} is there and is no former export ({RECORD} is missing), and an export "
            "takes the place of its whole folder: give a new name"
        )


def _adapter_folder(adapter: str) -> Path:
    config = find_file(adapter, "adapter_config.json")
    if config is None:
        raise ModelError(
            f"there is no adapter {adapter!r}: give a folder that training wrote "
            "(with adapter_config.json), or the id of a repository on the Hugging Face Hub"
        )
    if find_file(adapter, "adapter_model.safetensors") is None:
        raise ModelError(
            f"the adapter {adapter} has no adapter_model.safetensors, and other files can run code "
            "when they are loaded: save it again with a newer peft"
        )
    return config.parent


def _base(named: str, adapter: Path | None) -> tuple[str, str | None]:
    """The base model and its revision, which must not be stored quantised."""
    base, revision = named or EMBEDDED_NAME, None
    if adapter is not None and not named:
        base, revision = said_base(adapter / "adapter_config.json")
        if not base:
            raise ModelError(f"the adapter {adapter} does not name its base: name it as base")
    config = None if base == EMBEDDED_NAME else find_file(base, "config.json", revision=revision)
    if config is not None and "quantization_config" in json.loads(config.read_text("utf-8")):
        raise ModelError(
            f"the weights of {base} are stored quantised, and rounding them twice would lose what "
            "was learnt: name the model that they were made from as base"
        )
    return base, revision


def _load(options: ExportOptions, base: str, revision: str | None) -> LocalModel:
    local = LocalModel.from_pretrained(
        base,
        adapter=options.adapter or None,
        revision=revision,
        dtype="float32" if options.dtype == "float32" else "auto",
        device="cpu",
        chat_template_from=options.chat_template_from or None,
    )
    if options.adapter and local.model.config.tie_word_embeddings:
        whole = local.model.get_base_model()
        for layer in (whole.get_input_embeddings(), whole.get_output_embeddings()):
            if type(layer).__module__.startswith("peft."):
                raise ModelError(
                    f"the adapter {options.adapter} changes the embeddings, which are the output "
                    f"layer of {base} as well, so that merged they would change both: "
                    "train one without them"
                )
    return local


def _write_model(local: LocalModel, options: ExportOptions, folder: Path) -> str:
    """Write the model, merged or its base, with all that belongs to it; its precision."""
    import torch

    model = local.model
    stored = model.config.dtype or torch.float32
    dtype = stored if options.dtype == "auto" else getattr(torch, options.dtype)
    if options.adapter:
        model = model.unload() if options.lora_gguf else model.merge_and_unload()
    model = model.to(dtype)
    if not all(bool(torch.isfinite(p).all()) for p in model.parameters()):
        raise ModelError(
            f"some of the weights are no numbers in {dtype}: the adapter is broken, "
            "or they need dtype float32"
        )
    if model.config.model_type == "gpt2":
        model.config.n_ctx = model.config.n_positions  # its old name, which llama.cpp asks for
    try:
        model.save_pretrained(folder)
    except ValueError as e:
        raise ModelError(f"the model cannot be written ({e}): mend its generation config") from e
    local.tokenizer.save_pretrained(folder)
    if local.profile != Profile():
        profile = json.dumps(dataclasses.asdict(local.profile))
        (folder / "llmrec.json").write_text(profile + "\n", encoding="utf-8")
    return str(dtype).removeprefix("torch.")


def _copy_sentencepiece(adapter: str, base: str, revision: str | None, folder: Path) -> None:
    """Copy the file that transformers reads and does not write, and llama.cpp asks for."""
    places: list[tuple[str, str | None]] = [(adapter, None), (base, revision)]
    for place, at in places:
        known = place and place != EMBEDDED_NAME
        file = find_file(place, "tokenizer.model", revision=at) if known else None
        if file is not None and not (folder / file.name).exists():
            (folder / file.name).write_bytes(file.read_bytes())


def _write_plain(local: LocalModel, adapter: Path, folder: Path) -> None:
    """Write the adapter so that alpha / rank scales each layer, which is all llama.cpp computes."""
    from safetensors.torch import load_file, save_file

    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    if config.get("peft_type") != "LORA" or config.get("use_dora"):
        raise ModelError(
            f"llama.cpp reads plain LoRA only, and the adapter {adapter} is another kind: "
            "ask for merge instead"
        )
    weights = load_file(adapter / "adapter_model.safetensors")
    for name, layer in local.model.named_modules():
        key = f"{name}.lora_B.weight"
        if key in weights:
            (scale,) = layer.scaling.values()
            rank = weights[key].shape[1]
            weights[key] = weights[key].float() * (scale * rank / config["lora_alpha"])
    folder.mkdir(parents=True)
    save_file(weights, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
