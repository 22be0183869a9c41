"""LocalModel hides transformers, peft and bitsandbytes: a model of the Hub or of a folder.

It is made for many askers at once: forwards take turns, a prompt that begins like a former one
starts from its cache, and a stream that nobody reads any more stops.
"""

from __future__ import annotations

import contextlib
import copy
import math
import os
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from llmrec.errors import InputError, ModelError
from llmrec.models.base import FloatArray, Forest, IntArray, Prefix
from llmrec.models.chat import ChatTokenizer
from llmrec.models.files import gguf_of
from llmrec.models.loading import (
    EMBEDDED,
    EMBEDDED_NAME,
    Origin,
    base_of,
    device_of,
    load_adapter,
    load_model,
    need,
    source_of,
)
from llmrec.models.network import Mode, Network, vocabulary_of
from llmrec.models.profile import Profile
from llmrec.models.writing import Picker, Rule, Text
from llmrec.types import Message

if TYPE_CHECKING:
    import torch

    from llmrec.models.forest import Run, Runner

__all__ = ["EMBEDDED", "EMBEDDED_NAME", "LocalModel", "LogitsProcessor"]

_T = TypeVar("_T")


class LogitsProcessor(Protocol):
    """What transformers calls one: changes the scores of the next tokens."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """input_ids: [texts, tokens] so far; scores and the result: [texts, vocabulary]."""
        ...


class LocalModel:
    """A causal language model of transformers, with everything ``ScoringModel`` asks for.

    It may have several adapters (``add_adapter``). What is asked of it is answered with one of
    them, or with the bare base: ``with_adapter`` gives the same model with another. All of these
    share one network and may be used at once.

    Parameters
    ----------
    model, tokenizer: as transformers loads them; ``from_pretrained`` does so. Of a PeftModel, the
        adapter that is switched on is used.
    batch_size: how many texts are generated together.
    prefix_cache_mb: how much memory (MiB) the caches of former prompts may take; 0: none. None:
        an eighth of what the weights take, and 64 at least.
    mode: how trees are run, where it is not to be found out.
    profile: how the model is best used.

    Attributes
    ----------
    adapter: the adapter that is used here; None: the bare base.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str = "",
        batch_size: int = 16,
        prefix_cache_mb: int | None = None,
        mode: Mode | None = None,
        profile: Profile | None = None,
    ) -> None:
        if prefix_cache_mb is None:
            weights = sum(p.numel() * p.element_size() for p in model.parameters())
            prefix_cache_mb = max(64, weights // 2**23)
        self._network = Network(model.eval(), prefix_cache_mb * 2**20, mode)
        self._views: dict[str | None, LocalModel] = {}
        self._origin: Origin | None = None
        self._home = self
        self.batch_size = batch_size
        name = name or str(getattr(model.config, "_name_or_path", "")) or "local model"
        self._become(self._network.active, name, tokenizer, profile)

    def _become(
        self, adapter: str | None, name: str, tokenizer: Any, profile: Profile | None
    ) -> None:
        """Be the view of the network with this adapter."""
        from llmrec.models.forest import Runner

        self.name, self.adapter = name, adapter
        self.profile = profile or Profile()
        self.tokenizer = tokenizer
        alike = [v for v in self._views.values() if v.tokenizer is tokenizer]
        self._tokens: _Tokens
        self._tokens = alike[0]._tokens if alike else _Tokens(tokenizer, self._network.model, name)
        self.chat = self._tokens.chat
        self._runner: Runner | None = Runner(self._network, self.chat.used_ids, adapter)
        self._views[adapter] = self

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str] | None = None,
        *,
        adapter: str | os.PathLike[str] | None = None,
        gguf: str = "",
        revision: str | None = None,
        dtype: str = "auto",
        device: str = "auto",
        quantization: Literal["4bit", "8bit"] | None = None,
        chat_template_from: str | os.PathLike[str] | None = None,
        trust_remote_code: bool = False,
        attn_implementation: str | None = None,
        local_files_only: bool = False,
        batch_size: int = 16,
        prefix_cache_mb: int | None = None,
    ) -> LocalModel:
        """Load a model from a folder or from the Hub; None: the embedded one.

        Parameters
        ----------
        name_or_path: where it holds nothing but an adapter, the base that the adapter names is
            loaded with it.
        adapter: a LoRA adapter for it (folder or Hub id); needs peft. If it brings a tokenizer,
            that one is used: its chat template is the one that was trained with. It is named
            "default" then, as PEFT does; ``add_adapter`` loads more.
        gguf: the GGUF file of the folder or repository that holds the weights; the file can as
            well be named whole, in place of its folder. They are unpacked as they are loaded.
        revision: branch, tag or commit of the model on the Hub, or of the adapter if that is
            what ``name_or_path`` holds.
        dtype: "auto" (that of the weights; float32 on a CPU for up to 1.5 billion parameters; of
            a GGUF file float32 on a CPU, else bfloat16), "float32", "bfloat16" or "float16".
        device: "auto" (CUDA, else MPS, else CPU), or as torch names it.
        quantization: load in 4 or 8 bits; needs bitsandbytes.
        chat_template_from: take the chat template of this tokenizer.
        trust_remote_code: run code that comes with the model. Only for those you trust.
        attn_implementation: as transformers calls it; None: the best that is to be had.
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
            raise InputError(
                f"quantization is {quantization!r}: use '4bit', '8bit' or nothing, also for what "
                "is stored quantised"
            )
        if quantization:
            need("bitsandbytes", "accelerate")
        given: dict[str, Any] = {"revision": None, "local_files_only": local_files_only}
        if name_or_path is None or name_or_path == EMBEDDED_NAME:
            name_or_path = EMBEDDED
        elif not gguf:
            name_or_path, gguf = gguf_of(name_or_path)
        if adapter is None and not gguf and Path(name_or_path) != EMBEDDED:
            base, base_revision = base_of(name_or_path, revision, local_files_only)
            if base is not None:
                adapter, given["revision"] = name_or_path, revision
                name_or_path, revision = EMBEDDED if base == EMBEDDED_NAME else base, base_revision
        if gguf and quantization:
            raise InputError(
                f"{gguf} is quantised as it is: leave quantization out, or name the safetensors"
            )
        if adapter is not None:
            need("peft")
        source = source_of("model", name_or_path)
        hub = {
            "revision": revision if not Path(source).is_dir() else None,
            "trust_remote_code": trust_remote_code,
            "local_files_only": local_files_only,
        }
        where = device_of(device)
        origin = Origin(source, hub, gguf, chat_template_from)
        model = load_model(source, dtype, where, quantization, attn_implementation, hub, gguf)
        label, tokenizer, profile = origin.label, None, None
        if adapter is not None:
            place = source_of("adapter", adapter)
            label += f" + {Path(place).name}"
            tokenizer, profile = origin.brought(place, **given)
            model = load_adapter(model, place, "default", biases=True, **given)
        made = cls(
            model,
            tokenizer or origin.tokenizer,
            name=label,
            batch_size=batch_size,
            prefix_cache_mb=prefix_cache_mb,
            profile=profile or origin.profile,
        )
        made._origin = origin
        return made

    @property
    def model(self) -> Any:
        """The network, which the adapters share: to run it by hand, switch on the one meant."""
        return self._network.model

    @property
    def adapters(self) -> tuple[str, ...]:
        """The names of the adapters that are loaded."""
        return self._network.adapters

    def add_adapter(
        self,
        adapter: str | os.PathLike[str],
        *,
        name: str,
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> LocalModel:
        """Load one more adapter onto the network; the model with it, as ``with_adapter`` gives it.

        What is running meanwhile goes on unchanged.

        Parameters
        ----------
        adapter: folder or Hub id. If it brings a tokenizer or a profile, the model with it has
            those; else it has the base's.
        name: what ``with_adapter`` is to call it.

        Raises
        ------
        ModelError: it is no adapter, or one for another base; the model is then as before.
        InputError: the name is taken, or PEFT cannot use it. MissingExtraError: there is no peft.
        """
        need("peft")
        self._network.check(name)
        place = source_of("adapter", adapter)
        given = {"revision": revision, "local_files_only": local_files_only}
        tokenizer, profile = (self._origin or Origin("", {})).brought(place, **given)
        base, own, usual = self._base()
        with self._network.lock:
            self._network.add(place, name, **given)
            return self._view(name, f"{base} + {name}", tokenizer or own, profile or usual)

    def remove_adapter(self, name: str) -> None:
        """Let an adapter go: its weights, and what is remembered of its prompts.

        The weights are freed at once; where something runs with it, that goes on unharmed, and
        they are freed by the first request after it. What ``with_adapter`` gave for it says
        afterwards that it was removed.

        Raises
        ------
        InputError: there is no such adapter. ModelError: it has changed the base.
        """
        with self._network.lock:
            view = self.with_adapter(name)
            self._network.remove(name, view.runner)
            del self._views[name]
            view._runner = None
            self._network.clear()

    def with_adapter(self, name: str | None) -> LocalModel:
        """The same model with another of its adapters; None: the bare base.

        It costs nothing: both share the network and the memory for former prompts (not what is in
        it). They may be used at the same time, also in threads.

        Raises
        ------
        InputError: there is no such adapter.
        ModelError: the base is not to be had, as an adapter has changed it.
        """
        self._network.known(name)
        if (made := self._views.get(name)) is not None:
            return made
        base, own, usual = self._base()
        return self._view(name, base if name is None else f"{base} + {name}", own, usual)

    def _base(self) -> tuple[str, Any, Profile | None]:
        """The name, the tokenizer and the profile of the bare base."""
        if self._origin is not None:
            return self._origin.label, self._origin.tokenizer, self._origin.profile
        return self._home.name, self._home.tokenizer, self._home.profile

    def _view(
        self, adapter: str | None, name: str, tokenizer: Any, profile: Profile | None
    ) -> LocalModel:
        with self._network.lock:
            self._network.known(adapter)
            if adapter not in self._views:
                made = copy.copy(self)
                made._become(adapter, name, tokenizer, profile)
            return self._views[adapter]

    @property
    def runner(self) -> Runner:
        """What runs the network with this adapter. Raises ModelError once that was removed."""
        if (runner := self._runner) is None:
            raise ModelError(
                f"the adapter {self.adapter!r} was removed from the model: load it again with "
                "add_adapter, and use what that returns"
            )
        return runner

    @property
    def max_tokens(self) -> int | None:
        """How many tokens the model reads at most, the prompt and its own; None: not known."""
        return self.runner.limit

    @property
    def fed(self) -> int:
        """How many tokens the model was fed so far, padding included."""
        return self.runner.fed

    def forget(self, prefix: Sequence[int] = ()) -> None:
        """Forget former prompts but ``prefix``, which is run once for all calls that name it.

        What the model says afterwards depends, to the last bit, on nothing that was asked before.
        """
        self.runner.forget(prefix)

    @property
    def fingerprint(self) -> str:
        """Changes when the tokenizer does."""
        return self.chat.fingerprint

    @property
    def end_ids(self) -> tuple[int, ...]:
        """The tokens that end a turn."""
        return self.chat.end_ids

    @property
    def token_bytes(self) -> tuple[bytes, ...]:
        """The bytes of each token id; empty for special and unused ids."""
        return self._tokens.bytes

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

    def run(self, task: Callable[..., _T], *args: Any, **options: Any) -> _T:
        """The task, right here."""
        return task(self, *args, **options)

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
        runner = self.runner
        size = self.batch_size if runner.mode == "tree" else 1
        for at in range(0, len(prompts), size):
            part = [self.prompt_ids(p) for p in prompts[at : at + size]]
            texts = [Text(self.chat) for _ in part]
            said = [""] * len(part)
            rules = (
                None
                if schema is None
                else [self._tokens.rule(schema, max_new_tokens) for _ in part]
            )
            pick = Picker(temperature, range(seed + at, seed + at + len(part)))
            for row, token in self._decode(
                runner, part, max_new_tokens, pick, processors, rules, texts
            ):
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
        picker = Picker(temperature, [seed])
        return self._stream(
            self.runner, self.prompt_ids(prompt), max_new_tokens, picker, processors
        )

    def _stream(
        self,
        runner: Runner,
        prompt: list[int],
        max_new_tokens: int,
        pick: Picker,
        processors: Sequence[LogitsProcessor],
    ) -> Iterator[str]:
        text = Text(self.chat)
        with contextlib.closing(
            self._decode(runner, [prompt], max_new_tokens, pick, processors, None, [text])
        ) as tokens:
            for _, token in tokens:
                if piece := text.add(token):
                    yield piece
        if piece := text.rest():
            yield piece

    def _decode(
        self,
        runner: Runner,
        prompts: list[list[int]],
        max_new_tokens: int,
        pick: Picker,
        processors: Sequence[LogitsProcessor],
        rules: Sequence[Rule] | None,
        texts: Sequence[Text],
    ) -> Generator[tuple[int, int], None, None]:
        """The tokens of each text as they come: its number and the token, the end not included."""
        import torch

        run, logits = runner.start(prompts)
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
                    if runner.limit is not None and len(run.ids[at]) >= runner.limit:
                        if rule is not None:
                            raise InputError(_no_room(runner.limit))
                        continue
                    going.append(at)
                    chosen.append(token)
                if not going:
                    break
                if len(going) < len(active):
                    runner.keep(run, going)
                    active = [active[at] for at in going]
                logits = runner.step(run, chosen)
        finally:
            runner.remember(run)

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


class _Tokens:
    """A tokenizer as conversations and grammars want it, for all views that have it."""

    def __init__(self, tokenizer: Any, model: Any, name: str) -> None:
        said = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
        ends = said if isinstance(said, (list, tuple)) else [said]
        self.chat = ChatTokenizer(tokenizer, ends=[i for i in ends if i is not None], name=name)
        self._size = vocabulary_of(model)
        self._setup = threading.Lock()

    @cached_property
    def bytes(self) -> tuple[bytes, ...]:
        """The bytes of each token id; empty for special and unused ids."""
        grammar = self._grammar
        used = set(self.chat.used_ids) - set(self.chat.special.values())
        return tuple(
            b"" if i not in used or grammar.is_special_token(i) else grammar.decode_bytes([i])
            for i in range(self._size)
        )

    @cached_property
    def _grammar(self) -> Any:
        from llguidance.hf import from_tokenizer

        try:
            return from_tokenizer(
                self.chat.tokenizer,
                n_vocab=max(self._size, self.chat.used_ids[-1] + 1),  # some have a token too many
                eos_token=list(self.chat.end_ids),
            )
        except ValueError as e:
            raise ModelError(
                f"the tokenizer of {self.chat.name} cannot be held to a grammar ({e}): "
                "use a model with a fast tokenizer"
            ) from None

    def rule(self, schema: Mapping[str, Any], max_new_tokens: int) -> Rule:
        """What holds one text to a schema."""
        with self._setup:
            return Rule(self._grammar, self.bytes, schema, max_new_tokens)


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
