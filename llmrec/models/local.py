"""LocalModel hides transformers, peft and bitsandbytes: a model of the Hub or of a folder.

It is made for many askers at once: forwards take turns, a prompt that begins like a former one
starts from its cache, and a stream that nobody reads any more stops.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from llmrec.errors import InputError, LLMRecError, MissingExtraError, ModelError
from llmrec.models.base import FloatArray, Forest, IntArray, Prefix
from llmrec.models.chat import ChatTokenizer
from llmrec.models.files import HUB_ID, find_file
from llmrec.models.profile import Profile
from llmrec.types import Message

if TYPE_CHECKING:
    import torch

    from llmrec.models.forest import Mode, Run, Runner

__all__ = ["EMBEDDED", "EMBEDDED_NAME", "LocalModel", "LogitsProcessor"]

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


class LogitsProcessor(Protocol):
    """What transformers calls one: changes the scores of the next tokens."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """input_ids: [texts, tokens] so far; scores and the result: [texts, vocabulary]."""
        ...


class LocalModel:
    """A causal language model of transformers, with everything ``ScoringModel`` asks for.

    Parameters
    ----------
    model, tokenizer: as transformers loads them; ``from_pretrained`` does so.
    batch_size: how many texts are generated together.
    prefix_cache_mb: how much memory (MiB) the caches of former prompts may take; 0: none.
    mode: how trees are run, where it is not to be found out.
    profile: how the model is best used.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str = "",
        batch_size: int = 16,
        prefix_cache_mb: int = 256,
        mode: Mode | None = None,
        profile: Profile | None = None,
    ) -> None:
        from llmrec.models.forest import Runner

        self.profile = profile or Profile()

        self.name = name or str(getattr(model.config, "_name_or_path", "")) or "local model"
        self.model = model.eval()
        self.tokenizer = tokenizer
        said = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
        ends = said if isinstance(said, (list, tuple)) else [said]
        self.chat = ChatTokenizer(
            tokenizer, ends=[i for i in ends if i is not None], name=self.name
        )
        self.batch_size = batch_size
        self._setup = threading.Lock()
        self.runner: Runner = Runner(
            self.model,
            sorted(tokenizer.get_vocab().values()),
            prefix_bytes=prefix_cache_mb * 2**20,
            mode=mode,
        )

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str] | None = None,
        *,
        adapter: str | os.PathLike[str] | None = None,
        revision: str | None = None,
        dtype: str = "auto",
        device: str = "auto",
        quantization: Literal["4bit", "8bit"] | None = None,
        chat_template_from: str | os.PathLike[str] | None = None,
        trust_remote_code: bool = False,
        attn_implementation: str | None = None,
        local_files_only: bool = False,
        batch_size: int = 16,
        prefix_cache_mb: int = 256,
    ) -> LocalModel:
        """Load a model from a folder or from the Hub; None: the embedded one.

        Parameters
        ----------
        name_or_path: where it holds nothing but an adapter, the base that the adapter names is
            loaded with it.
        adapter: a LoRA adapter for it (folder or Hub id); needs peft. If it brings a tokenizer,
            that one is used: its chat template is the one that was trained with.
        revision: branch, tag or commit of the model on the Hub.
        dtype: "auto" (that of the weights; float32 on a CPU for up to 1.5 billion parameters),
            "float32", "bfloat16" or "float16".
        device: "auto" (CUDA, else MPS, else CPU), or as torch names it.
        quantization: load in 4 or 8 bits; needs bitsandbytes.
        chat_template_from: take the chat template of this tokenizer.
        trust_remote_code: run code that comes with the model. Only for those you trust.
        local_files_only: never ask the network.

        Raises
        ------
        ModelError: it cannot be loaded; weights that are not safetensors are refused.
        MissingExtraError: peft or bitsandbytes is not installed.
        InputError: an option has a value that does not exist.
        """
        if dtype not in ("auto", "float32", "bfloat16", "float16"):
            raise InputError(f"dtype is {dtype!r}: use 'auto', 'float32', 'bfloat16' or 'float16'")
        if quantization not in (None, "4bit", "8bit"):
            raise InputError(f"quantization is {quantization!r}: use '4bit', '8bit' or nothing")
        if quantization:
            _need("bitsandbytes", "accelerate")
        if name_or_path is None or name_or_path == EMBEDDED_NAME:
            name_or_path = EMBEDDED
        elif adapter is None:
            base, base_revision = _base_of(name_or_path, revision, local_files_only)
            if base is not None:
                adapter, revision = name_or_path, base_revision
                name_or_path = EMBEDDED if base == EMBEDDED_NAME else base
        if adapter is not None:
            _need("peft")
        source = _source("model", name_or_path)
        hub = {
            "revision": revision if not Path(source).is_dir() else None,
            "trust_remote_code": trust_remote_code,
            "local_files_only": local_files_only,
        }
        where = _device(device)
        model = _load_model(source, dtype, where, quantization, attn_implementation, hub)
        from transformers import AutoTokenizer

        with _clearly("tokenizer", source):
            tokenizer = _adapter_tokenizer(adapter, local_files_only)
            tokenizer = tokenizer or AutoTokenizer.from_pretrained(source, **hub)
        if chat_template_from is not None:
            other = _source("chat template", chat_template_from)
            with _clearly("chat template", other):
                taken = AutoTokenizer.from_pretrained(
                    other, trust_remote_code=False, local_files_only=local_files_only
                ).chat_template
            if not taken:
                raise ModelError(
                    f"{other} has no chat template: name a tokenizer that has one, "
                    "or leave chat_template_from out"
                )
            tokenizer.chat_template = taken
        places = [(source, revision)] if adapter is None else [(adapter, None), (source, revision)]
        found = [Profile.read(p, revision=r, local_files_only=local_files_only) for p, r in places]
        label = Path(source).name if Path(source).is_dir() else source
        if Path(source) == EMBEDDED:
            label = "llmrec-embedded"
        if adapter is not None:
            with_adapter = _source("adapter", adapter)
            model = _load_adapter(model, with_adapter, local_files_only)
            label += f" + {Path(with_adapter).name}"
        return cls(
            model,
            tokenizer,
            name=label,
            batch_size=batch_size,
            prefix_cache_mb=prefix_cache_mb,
            profile=next((p for p in found if p is not None), None),
        )

    @property
    def max_tokens(self) -> int | None:
        """How many tokens the model reads at most, the prompt and its own; None: not known."""
        return self.runner.limit

    @property
    def fingerprint(self) -> str:
        """Changes when the tokenizer does."""
        return self.chat.fingerprint

    @property
    def end_ids(self) -> tuple[int, ...]:
        """The tokens that end a turn."""
        return self.chat.end_ids

    @cached_property
    def token_bytes(self) -> tuple[bytes, ...]:
        """The bytes of each token id; empty for special and unused ids."""
        grammar = self._grammar_tokenizer
        used = set(self.tokenizer.get_vocab().values()) - set(self.chat.special.values())
        return tuple(
            b"" if i not in used or grammar.is_special_token(i) else grammar.decode_bytes([i])
            for i in range(self.runner.vocabulary)
        )

    @cached_property
    def _grammar_tokenizer(self) -> Any:
        from llguidance.hf import from_tokenizer

        try:
            return from_tokenizer(
                self.tokenizer, n_vocab=self.runner.vocabulary, eos_token=list(self.end_ids)
            )
        except ValueError as e:
            raise ModelError(
                f"the tokenizer of {self.name} cannot be held to a grammar ({e}): "
                "use a model with a fast tokenizer"
            ) from None

    def encode(self, text: str) -> list[int]:
        """The tokens of ``text`` as it stands inside a longer text; no special tokens added."""
        return self.chat.encode_many([text])[0]

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """``encode`` for each of the texts, fast."""
        return self.chat.encode_many(texts)

    def prompt_ids(self, messages: Sequence[Message], prefix: str = "") -> list[int]:
        """The tokens of a conversation up to the assistant's turn, and of its words so far."""
        return self.chat.prompt_ids(messages, prefix)

    def prefill(self, prompt: Sequence[int]) -> Prefix:
        """Run one prompt."""
        return _Alone(self.runner.forest([prompt]))

    def prefill_many(self, prompts: Sequence[Sequence[int]]) -> Forest:
        """Run several prompts together."""
        return self.runner.forest(prompts)

    def generate(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        max_new_tokens: int = 256,
        schema: Mapping[str, Any] | None = None,
        temperature: float = 0.0,
        seed: int = 0,
        processors: Sequence[LogitsProcessor] = (),
    ) -> list[str]:
        """The assistant's next turn for each of the conversations.

        Parameters
        ----------
        max_new_tokens: of each text. With a schema, from half of it on the text is brought to its
            end, and it may take a few tokens more to be whole.
        schema: a JSON schema, which the text then surely meets; written with ", " and ": ".
        temperature: 0 takes the likeliest token; above, prompt i is sampled with ``seed + i``.
        processors: further constraints, as ``GroundedList``; they see all texts of one batch.

        Raises
        ------
        InputError: a prompt is too long, or the schema cannot be used. ModelError: the model gives
            no numbers.
        """
        _check(max_new_tokens, temperature)
        out: list[str] = []
        size = self.batch_size if self.runner.mode == "tree" else 1
        for at in range(0, len(prompts), size):
            part = [self.prompt_ids(p) for p in prompts[at : at + size]]
            texts = [_Text(self.chat) for _ in part]
            said = [""] * len(part)
            rules = None if schema is None else [self._rule(schema, max_new_tokens) for _ in part]
            pick = _Picker(temperature, range(seed + at, seed + at + len(part)))
            for row, token in self._decode(part, max_new_tokens, pick, processors, rules, texts):
                said[row] += texts[row].add(token)
            out += [s + t.rest() for s, t in zip(said, texts, strict=True)]
        return out

    def stream(
        self,
        prompt: Sequence[Message],
        *,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
        processors: Sequence[LogitsProcessor] = (),
    ) -> Iterator[str]:
        """What ``generate`` would give, piece by piece.

        The model works only while a piece is asked for: a closed iterator costs nothing more.
        """
        _check(max_new_tokens, temperature)
        return self._stream(
            self.prompt_ids(prompt), max_new_tokens, _Picker(temperature, [seed]), processors
        )

    def _stream(
        self,
        prompt: list[int],
        max_new_tokens: int,
        pick: _Picker,
        processors: Sequence[LogitsProcessor],
    ) -> Iterator[str]:
        text = _Text(self.chat)
        with contextlib.closing(
            self._decode([prompt], max_new_tokens, pick, processors, None, [text])
        ) as tokens:
            for _, token in tokens:
                if piece := text.add(token):
                    yield piece
        if piece := text.rest():
            yield piece

    def _decode(
        self,
        prompts: list[list[int]],
        max_new_tokens: int,
        pick: _Picker,
        processors: Sequence[LogitsProcessor],
        rules: Sequence[_Rule] | None,
        texts: Sequence[_Text],
    ) -> Generator[tuple[int, int], None, None]:
        """The tokens of each text as they come: its number and the token, the end not included."""
        import torch

        run, logits = self.runner.start(prompts)
        written: list[list[int]] = [[] for _ in prompts]
        active = list(range(len(prompts)))
        ends = set(self.end_ids)
        try:
            while True:
                with torch.inference_mode():
                    scores = self._processed(run, logits, processors, written, active)
                    scores = scores.cpu()
                going, chosen = [], []
                for at, row in enumerate(active):
                    rule = None if rules is None else rules[row]
                    token = pick(row, scores[at].numpy(), rule)
                    if token in ends or (rule is not None and rule.take(token)):
                        if token not in ends:
                            yield row, token
                        continue
                    yield row, token
                    written[row].append(token)
                    if texts[row].stopped or (rule is None and len(written[row]) >= max_new_tokens):
                        continue
                    if self.max_tokens is not None and len(run.ids[at]) >= self.max_tokens:
                        if rule is not None:
                            raise InputError(_no_room(self.max_tokens))
                        continue
                    going.append(at)
                    chosen.append(token)
                if not going:
                    break
                if len(going) < len(active):
                    self.runner.keep(run, going)
                    active = [active[at] for at in going]
                logits = self.runner.step(run, chosen)
        finally:
            self.runner.remember(run)

    def _processed(
        self,
        run: Run,
        logits: torch.Tensor,
        processors: Sequence[LogitsProcessor],
        written: Sequence[Sequence[int]],
        active: Sequence[int],
    ) -> torch.Tensor:
        import torch

        if not processors:
            return logits
        ids = torch.tensor(
            [[0] * pad + row for row, pad in zip(run.ids, run.pads, strict=True)],
            dtype=torch.long,
            device=logits.device,
        )
        for processor in processors:
            logits = processor(ids, logits)
        return logits

    def _rule(self, schema: Mapping[str, Any], max_new_tokens: int) -> _Rule:
        with self._setup:
            return _Rule(self._grammar_tokenizer, self.token_bytes, schema, max_new_tokens)


class _Alone:
    """One prompt of its own, with all the log-probabilities."""

    def __init__(self, forest: Any) -> None:
        self._forest = forest
        self.logprobs: FloatArray = forest.logprobs[0]

    def extend(self, tokens: IntArray, parents: IntArray) -> FloatArray:
        """See ``Prefix``."""
        import torch

        with torch.inference_mode():
            logits = self._forest.dense([tokens], [parents])[0]
            out: FloatArray = torch.log_softmax(logits, dim=-1).cpu().numpy()
        return out


class _Picker:
    """Takes the next token of each text: the likeliest, or one by its own dice."""

    def __init__(self, temperature: float, seeds: Sequence[int]) -> None:
        self._temperature = temperature
        self._dice = [np.random.default_rng(s) for s in seeds]

    def __call__(self, row: int, scores: FloatArray, rule: _Rule | None) -> int:
        scores = np.where(np.isnan(scores), -np.inf, scores)
        if rule is not None:
            scores = rule.masked(scores)
        if scores.max() == -np.inf:
            raise ModelError("the model gives no numbers to choose by: its weights are damaged")
        if self._temperature > 0:
            return int(
                (scores / self._temperature + self._dice[row].gumbel(size=len(scores))).argmax()
            )
        return int(scores.argmax())


class _Rule:
    """A JSON schema that one text is held to; after ``soft`` tokens it is brought to its end."""

    def __init__(
        self,
        tokenizer: Any,
        token_bytes: tuple[bytes, ...],
        schema: Mapping[str, Any],
        max_new_tokens: int,
    ) -> None:
        from llguidance import LLMatcher

        grammar = LLMatcher.grammar_from_json_schema(
            dict(schema),
            overrides={
                "whitespace_flexible": False,
                "item_separator": ", ",
                "key_separator": ": ",
            },
        )
        self._matcher = LLMatcher(tokenizer, grammar)
        if self._matcher.is_error():
            raise InputError(f"the schema cannot be used: {self._matcher.get_error()}")
        self._bytes = token_bytes
        self._closing = _closing(token_bytes)
        self._in_string = self._escaped = False
        self._soft, self._hard = max_new_tokens - max_new_tokens // 2, max_new_tokens + 1024
        self._taken = 0

    def masked(self, scores: FloatArray) -> FloatArray:
        """``scores`` with everything at -inf that the schema does not let follow."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        flags = np.unpackbits(bits, bitorder="little")[: len(scores)].astype(bool)
        scores = np.where(flags[: len(scores)], scores, -np.inf)
        if scores.max() == -np.inf:  # the model excludes all that is allowed: take any of it
            scores = np.where(flags, np.float32(0), np.float32(-np.inf))
        if self._taken >= self._soft:
            scores = scores + self._closing[int(self._in_string)]
        return scores

    def take(self, token: int) -> bool:
        """Take the token; whether the text is whole with it."""
        self._taken += 1
        if not self._matcher.consume_token(token) or self._taken >= self._hard:
            raise ModelError(
                f"no text that meets the schema came within {self._taken} tokens "
                f"({self._matcher.get_error() or 'it has no end'}): give the schema bounds"
            )
        for byte in self._bytes[token]:
            if byte == ord('"') and not self._escaped:
                self._in_string = not self._in_string
            self._escaped = byte == ord("\\") and not self._escaped
        return bool(self._matcher.is_stopped())


class _Text:
    """Tokens to text, piece by piece: whole characters only, and nothing from a stop text on."""

    def __init__(self, chat: ChatTokenizer) -> None:
        self._tokenizer, self._stops = chat.tokenizer, chat.stops
        self._ids: list[int] = []
        self._special = set(chat.special.values())
        self._shown = self._read = 0
        self._held = ""
        self.stopped = False

    def add(self, token: int) -> str:
        """The text that can be shown now."""
        if token not in self._special:
            self._ids.append(token)
        before = self._decoded(self._ids[self._shown : self._read])
        after = self._decoded(self._ids[self._shown :])
        if len(after) <= len(before) or after.endswith("�"):
            return ""
        self._shown, self._read = self._read, len(self._ids)
        return self._released(after[len(before) :])

    def rest(self) -> str:
        """What is still held back when the text is at its end."""
        before = self._decoded(self._ids[self._shown : self._read])
        left = self._released(self._decoded(self._ids[self._shown :])[len(before) :])
        held, self._held = self._held, ""
        return left + ("" if self.stopped else held)

    def _decoded(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        return text

    def _released(self, piece: str) -> str:
        if self.stopped:
            return ""
        text = self._held + piece
        for stop in self._stops:
            if stop in text:
                self.stopped, self._held = True, ""
                return text[: text.index(stop)]
        keep = max(
            (n for stop in self._stops for n in range(1, len(stop)) if text.endswith(stop[:n])),
            default=0,
        )
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


@lru_cache(maxsize=4)
def _closing(token_bytes: tuple[bytes, ...]) -> FloatArray:
    """What to add to scores to bring JSON to its end: outside and inside of a string, [2, ids]."""
    out = np.zeros((2, len(token_bytes)), dtype=np.float32)
    for i, text in enumerate(token_bytes):
        last = 1e4 if b"," in text else 2e4
        out[0, i] = last if text[:1] in (b"}", b"]", b",", b"") else 0
        out[1, i] = last if text[:1] == b'"' else 0
    return out


def _check(max_new_tokens: int, temperature: float) -> None:
    if max_new_tokens < 1:
        raise InputError(f"max_new_tokens is {max_new_tokens}: give 1 or more")
    if not 0 <= temperature < math.inf:
        raise InputError(f"temperature is {temperature}: give 0 or a positive number")


def _no_room(limit: int) -> str:
    return (
        f"the text reached the {limit:,} tokens that the model reads before it met its schema: "
        "shorten the conversation"
    )


def _need(*packages: str) -> None:
    for package in packages:
        try:
            found = importlib.util.find_spec(package) is not None
        except ValueError:  # something stands in its place
            found = False
        if not found:
            raise MissingExtraError(package, "train")


def _source(what: str, name: str | os.PathLike[str]) -> str:
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
def _clearly(what: str, source: str) -> Iterator[None]:
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


def _device(device: str) -> str:
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


def _load_model(
    source: str,
    dtype: str,
    device: str,
    quantization: str | None,
    attn_implementation: str | None,
    hub: dict[str, Any],
) -> Any:
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
    with _clearly("model", source):
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


def _base_of(
    name: str | os.PathLike[str], revision: str | None, local_files_only: bool
) -> tuple[str | None, str | None]:
    """The base model that an adapter names, and its revision; (None, None) if it is a model."""

    def find(file: str) -> Path | None:
        return find_file(name, file, revision=revision, local_files_only=local_files_only)

    file = find("adapter_config.json")
    if file is None or find("config.json") is not None:
        return None, None
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        base, base_revision = said["base_model_name_or_path"], said.get("revision")
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        base = base_revision = None
    if not isinstance(base, str) or not base:
        raise ModelError(
            f"the adapter {name} does not name its base model: "
            "give the base first, and it as adapter=..."
        )
    return base, base_revision


def _adapter_tokenizer(adapter: str | os.PathLike[str] | None, local_files_only: bool) -> Any:
    """The tokenizer that an adapter brings, or None."""
    from transformers import AutoTokenizer

    if adapter is None:
        return None
    if find_file(adapter, "tokenizer_config.json", local_files_only=local_files_only) is None:
        return None
    return AutoTokenizer.from_pretrained(
        _source("adapter", adapter), local_files_only=local_files_only
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


def _load_adapter(model: Any, adapter: str, local_files_only: bool) -> Any:
    import warnings

    from peft import PeftModel

    folder = Path(adapter)
    if folder.is_dir() and not any((folder / f).is_file() for f in _ADAPTER_FILES):
        raise ModelError(
            f"the folder {adapter} holds no adapter ({_ADAPTER_FILES[0]} is missing): "
            "give a folder that training wrote"
        )
    with _clearly("adapter", adapter), warnings.catch_warnings():
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
