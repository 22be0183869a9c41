"""Ensemble hides how doubt is measured: a request is put in many ways, and the answers compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from llmrec.errors import InputError
from llmrec.models.base import LanguageModel
from llmrec.preferences import Understood
from llmrec.prompting import Strategy
from llmrec.types import Conversation, Item, Spread, Uncertainty
from llmrec.uncertainty.asking import (
    clarify_prompt,
    paraphrase_prompt,
    parse_clarifications,
    parse_paraphrases,
)
from llmrec.uncertainty.confidence import Confidence
from llmrec.uncertainty.measures import (
    Answer,
    certainties,
    reading,
    reading_text,
    single_pass,
    spread,
)
from llmrec.uncertainty.variants import (
    Variant,
    clarifications,
    orders,
    paraphrases,
    told,
    what_has_an_order,
)

__all__ = ["METHODS", "Answered", "Ensemble", "Method"]

Method = Literal["logits", "clarifications", "paraphrases", "order"]
METHODS: tuple[Method, ...] = get_args(Method)
MAX_VARIANTS = 64
LISTED = 10  # candidates that a prompt lists, where it does


class Answered(NamedTuple):
    """What came of one variant: how it was understood, and every candidate's log-probability."""

    understood: Understood
    answer: Answer


@dataclass(frozen=True)
class Ensemble:
    """Measures the doubt about requests.

    Attributes
    ----------
    answer: answers any number of variants at once.
    items_at: the items of rows of the catalogue.
    strategy, constrained: how the model is asked.
    writer: a model that writes clarifications and paraphrases; None: rules make them.
    confidence: makes probabilities of measures; None: the confidence stays uncalibrated.
    """

    answer: Callable[[Sequence[Variant]], Sequence[Answered]]
    items_at: Callable[[Sequence[int]], Sequence[Item]]
    strategy: Strategy
    constrained: bool
    writer: LanguageModel | None = None
    confidence: Confidence | None = None

    def __call__(
        self,
        conversations: Sequence[Conversation],
        k: int,
        methods: Sequence[Method] | None,
        variants: int,
        seed: int,
    ) -> list[Uncertainty]:
        """The doubt about each conversation: one pass over all, and one over all variants."""
        sources = self._sources(methods, variants)
        plain = self.answer([Variant(c) for c in conversations])
        by_source = {s: self._variants(s, conversations, plain, variants, seed) for s in sources}
        every = [v for made in by_source.values() for own in made for v in own]
        answers = iter(self.answer(every) if every else ())
        spreads: list[list[Spread]] = [[] for _ in conversations]
        for source, made in by_source.items():
            for own, base, out in zip(made, plain, spreads, strict=True):
                out.append(self._spread(source, own, [next(answers) for _ in own], base, k))
        return [
            self._finish(base, tuple(found), k, variants)
            for base, found in zip(plain, spreads, strict=True)
        ]

    def _sources(self, methods: Sequence[Method] | None, variants: int) -> list[Method]:
        if isinstance(variants, bool) or not 1 <= variants <= MAX_VARIANTS:
            raise InputError(f"variants is {variants!r}: use 1 to {MAX_VARIANTS}")
        if methods is None:
            try:
                what_has_an_order(self.strategy, self.constrained)
            except InputError:
                return ["clarifications", "paraphrases"]
            return ["clarifications", "paraphrases", "order"]
        for m in methods:
            if m not in METHODS:
                raise InputError(f"methods has {m!r}: use {', '.join(METHODS)}")
        if "order" in methods:
            what_has_an_order(self.strategy, self.constrained)
        return [m for m in METHODS if m in methods and m != "logits"]

    def _variants(
        self,
        source: Method,
        conversations: Sequence[Conversation],
        plain: Sequence[Answered],
        n: int,
        seed: int,
    ) -> list[list[Variant]]:
        if source == "clarifications":
            written = self._clarified(conversations, plain, n)
            return [
                told(c, w) or clarifications(c, p.understood, *self._candidates(p.answer), n)
                for c, p, w in zip(conversations, plain, written, strict=True)
            ]
        # The plain request is one of the variants.
        if source == "paraphrases":
            written = self._rewritten(conversations, plain, n - 1)
            return [
                paraphrases(c, p.understood, n - 1, seed, w)
                for c, p, w in zip(conversations, plain, written, strict=True)
            ]
        return [
            orders(
                c,
                p.understood,
                self.strategy,
                self.constrained,
                self._candidates(p.answer)[0][:LISTED],
                n - 1,
                seed,
            )
            for c, p in zip(conversations, plain, strict=True)
        ]

    def _candidates(self, answer: Answer) -> tuple[Sequence[Item], list[float]]:
        """The items of an answer and their probabilities, best first."""
        rows, logs = answer
        best = np.lexsort((rows, -logs))
        return self.items_at(rows[best].tolist()), np.exp(logs[best]).tolist()

    def _clarified(
        self, conversations: Sequence[Conversation], plain: Sequence[Answered], n: int
    ) -> list[list[str]]:
        if self.writer is None:
            return [[] for _ in conversations]
        prompts = [
            clarify_prompt(c, n, p.understood.preferences.language)
            for c, p in zip(conversations, plain, strict=True)
        ]
        texts = self.writer.generate(prompts, max_new_tokens=40 * n)
        return [parse_clarifications(t, n) for t in texts]

    def _rewritten(
        self, conversations: Sequence[Conversation], plain: Sequence[Answered], n: int
    ) -> list[list[str]]:
        if self.writer is None or n < 1:
            return [[] for _ in conversations]
        said = [c.messages[-1].content for c in conversations]
        prompts = [
            paraphrase_prompt(m, n, p.understood.preferences.language)
            for m, p in zip(said, plain, strict=True)
        ]
        texts = self.writer.generate(prompts, max_new_tokens=80 * n)
        out = []
        for text, message, p in zip(texts, said, plain, strict=True):
            last = p.understood.marked[-1] if p.understood.marked else None
            keep = [message[s.start : s.end] for s in last.spans if s.kind in _KEPT] if last else []
            out.append(parse_paraphrases(text, message, n, keep))
        return out

    def _spread(
        self,
        source: Method,
        variants: Sequence[Variant],
        answered: Sequence[Answered],
        plain: Answered,
        k: int,
    ) -> Spread:
        answers = [a.answer for a in answered]
        weights = [v.weight for v in variants]
        if source != "clarifications" and not _lists(variants):
            answers, weights = [plain.answer, *answers], [1.0, *weights]
        if source == "order":
            varied = what_has_an_order(self.strategy, self.constrained)
        elif source == "paraphrases":
            varied = "wording"
        elif not answers:  # no clarification changes the answer
            varied, answers, weights = "nothing was left open", [plain.answer], [1.0]
        else:
            by = "the model" if variants[0].understood is None else "rules"
            varied = f"what was left open, by {by}"
        return spread(source, varied, answers, k, weights)

    def _finish(
        self, base: Answered, sources: tuple[Spread, ...], k: int, variants: int
    ) -> Uncertainty:
        rows, logs = base.answer
        best = np.lexsort((rows, -logs))[:k]
        single = single_pass(base.answer)
        confidence = min(1.0, float(np.exp(logs[best]).sum()))
        if self.confidence is not None and single:
            confidence = self.confidence(certainties(single, sources), k, variants)
        main = sources[0] if sources else None
        steady = [s.rbo for s in sources if s.source != "clarifications" and s.variants > 1]
        kind = reading(confidence, main)
        calibrated = self.confidence is not None and bool(single)
        language = base.understood.preferences.language
        return Uncertainty(
            total=main.total if main else single.get("entropy", 0.0),
            aleatoric=main.aleatoric if main else None,
            epistemic=main.epistemic if main else None,
            consistency=sum(steady) / len(steady) if steady else None,
            confidence=confidence,
            calibrated=calibrated,
            kind=kind,
            reading=reading_text(kind, language, calibrated),
            items=tuple(i.id for i in self.items_at(rows[best].tolist())),
            single=single,
            sources=sources,
        )


_KEPT = ("title", "person", "year", "runtime", "unknown")


def _lists(variants: Sequence[Variant]) -> bool:
    """Whether the variants list candidates, which the plain request does not."""
    return any(v.candidates for v in variants)
