"""The words of the page: the same in all languages, all of them used, and nowhere but in words/."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from string import Formatter
from typing import Any, get_args, get_type_hints

import pytest

pytest.importorskip("gradio", reason="gradio is not installed")

from llmrec.demo import texts
from llmrec.demo.columns import FIELDS
from llmrec.demo.feedback_rows import CHOICES, REASONS
from llmrec.demo.page import TABS
from llmrec.demo.texts import TALK, Words
from llmrec.evaluation.questions import KINDS
from llmrec.lexicon import Kind
from llmrec.questions import QuestionKind
from llmrec.routing import ROUTES
from llmrec.types import LANGUAGES, Source

HOME = Path(texts.__file__).parent
FILES = sorted(p.stem for p in HOME.glob("words/*.json") if p.stem != "examples")
MODULES = sorted(p.stem for p in HOME.glob("*.py"))
SIGNALS = (
    "model popularity similar disliked keywords text learned "
    "together conversations facts network meaning"
)
# Keys of one beginning, and how they may go on: these must be there, and no others.
FAMILIES: dict[tuple[str, str], set[str]] = {
    ("talk", "tab_"): set(TABS),
    ("talk", "signal_"): {"model", "popularity"},
    ("talk", "sure_"): set("high some little none answer list rough".split()),
    ("catalogue", "field_"): set(FIELDS),
    ("compare", "vote_"): set(CHOICES),
    ("compare", "name_"): {"all signals", "model alone", "popularity alone", "lesser known"},
    ("compare", "what_"): {"all signals", "model alone", "popularity alone", "lesser known"},
    ("inside", "signal_"): set(SIGNALS.split()),
    ("inside", "kind_"): {*get_args(QuestionKind), "describe"},
    ("inside", "by_"): set(get_args(get_type_hints(Source)["how"])),
    ("measure", "group_"): {"lists", "answers"},
    ("measure", "caption_"): {"lists", "answers"},
    ("measure", "glossary_"): {"lists", "answers"},
    ("measure", "rule_"): {"lists", "answers"},
    ("measure", "target_"): {"new", "all"},
    ("measure", "result_"): {"all", "right", "wrong"},
    ("measure", "kind/"): set(KINDS),
}
# Keys that come from elsewhere than the modules which say them.
FROM_MODULES = {
    "compare": {"match", "steps", "feedback_rows"},
    "inside": {"inspection"},
    "measure": {"measured", "cases", "hostile"},
    "uploads": {"untrusted", "own", "catalogue", "brought"},
}
FROM_VALUES: dict[str, set[str]] = {
    "compare": set(REASONS),
    "inside": {*ROUTES, *get_args(Kind)},
    "measure": set(KINDS),
}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse((HOME / f"{module}.py").read_text(encoding="utf-8"))


@cache
def table(file: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = texts._read(file)
    return found


def slots(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


# -- the files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", FILES)
def test_every_text_is_there_in_every_language_with_the_same_slots(file: str) -> None:
    for key, said in table(file).items():
        assert tuple(said) == LANGUAGES, key
        assert all(text.strip() for text in said.values()), key
        wanted = slots(said["en"])
        assert all(re.fullmatch("[a-z_]+", name) for name in wanted), key
        assert all(slots(text) == wanted for text in said.values()), key


def test_examples_are_there_in_every_language() -> None:
    every = texts._read("examples")
    assert set(every) == {"films", "products"}
    for said in every.values():
        assert tuple(said) == LANGUAGES
        assert {len(own) for own in said.values()} == {5}


def test_what_is_said_of_products_fits_what_is_said_of_films() -> None:
    for key, said in table("products").items():
        assert slots(said["en"]) == slots(table("talk")[key]["en"]), key
        for language in LANGUAGES:
            filled = dict.fromkeys(slots(said["en"]), "x")
            shown = texts.say(language, key, "products", **filled)
            assert shown == said[language].format_map(filled)


def test_a_text_is_filled_by_name_and_numbers_as_the_language_writes_them() -> None:
    words = Words("catalogue")
    assert words("en", "shared", n=1234) == "You see the catalogue of this page: 1234 entries."
    assert words.counted("en", "shared", n=1234).endswith(" 1,234 entries.")
    assert words.counted("pt", "shared", n=1234).endswith(" 1.234 entradas.")
    assert words("en", "heading") == words.within("en")["heading"] == "Catalogue"
    assert words("en", "yours", name="{n}{0}", n=3).startswith(
        "You see your own catalogue, “{n}{0}”"
    )
    with pytest.raises(KeyError):
        words("en", "shared", m=1)


# -- the modules ----------------------------------------------------------------------------------


def sayers(module: str) -> dict[str, str]:
    """The names by which a module says texts, each with the file these come from."""
    found = {"say": "talk", "TALK": "talk"} if module != "texts" else {}
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Assign):
            made = node.value.value if isinstance(node.value, ast.Attribute) else node.value
            if isinstance(made, ast.Call) and ast.unparse(made.func) == "Words":
                assert isinstance(node.targets[0], ast.Name)
                found[node.targets[0].id] = ast.literal_eval(made.args[0])
    return found


def calls(module: str) -> Iterator[tuple[str, ast.Call]]:
    """Every call that says a text, with the file that the text is of."""
    known = sayers(module)
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call) and len(node.args) > 1:
            file = known.get(ast.unparse(node.func))
            if file:
                yield file, node


def choices(node: ast.expr) -> list[ast.expr]:
    """What an expression may give: both sides of an ``if``."""
    if isinstance(node, ast.IfExp):
        return choices(node.body) + choices(node.orelse)
    return [node]


@pytest.mark.parametrize("module", MODULES)
def test_what_a_module_says_is_there_and_wholly_filled(module: str) -> None:
    for file, call in calls(module):
        for key in choices(call.args[1]):
            if not isinstance(key, ast.Constant):
                continue
            where = f"{module}.py:{call.lineno}: {key.value}"
            assert key.value in table(file), where
            names = {k.arg for k in call.keywords} - {"things"}
            wanted = slots(table(file)[key.value]["en"])
            if None not in names:  # what a mapping fills is not to be seen here
                assert not wanted or names >= wanted, where
                assert len(choices(call.args[1])) > 1 or names <= wanted, where
            else:
                assert wanted, where


def said_in(module: str) -> tuple[set[str], set[str]]:
    """The strings of a module that are no documentation, and the beginnings of its f-strings."""
    whole, parts = set(), set()
    inner: set[int] = set()
    for node in ast.walk(tree(module)):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            inner.add(id(body[0].value))
        if isinstance(node, ast.JoinedStr):
            inner |= {id(v) for v in node.values}
            first = node.values[0]
            if isinstance(first, ast.Constant) and len(node.values) == 2:
                parts.add(str(first.value))
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            whole.add(node.value)
    return whole, parts


@pytest.mark.parametrize("file", FILES)
def test_every_text_is_used(file: str) -> None:
    of = "talk" if file == "products" else file
    users = {m for m in MODULES if of in sayers(m).values()} | FROM_MODULES.get(file, set())
    whole, parts = set(FROM_VALUES.get(file, ())), set()
    for module in users & set(MODULES):
        strings, beginnings = said_in(module)
        whole |= strings
        parts |= beginnings
    if file == "refused":
        script = (HOME / "refused.js").read_text(encoding="utf-8")
        whole |= set(re.findall(r"'(\w+)'", script)) | set(re.findall(r"words\(\)\.(\w+)", script))
    families = {b: ends for (f, b), ends in FAMILIES.items() if f == of and b in parts}
    family = {f"{b}{end}" for b, ends in families.items() for end in ends}
    fields = {k for k in table(file) if file == "inside" and k.startswith("field_")}
    unused = [k for k in table(file) if k not in whole | family | fields]
    assert unused == []


@pytest.mark.parametrize(("file", "beginning"), FAMILIES)
def test_a_family_of_texts_is_whole(file: str, beginning: str) -> None:
    there = {k.removeprefix(beginning) for k in table(file) if k.startswith(beginning)}
    assert there == FAMILIES[file, beginning]


# -- nothing else is said -------------------------------------------------------------------------

# Same in every language: a name, a command, and marks.
SPELLED = re.compile(r"llmrec|python app\.py --runs runs|\$\{value\.join\(\"\"\)\}")
TOLD = ("label", "placeholder", "info", "title", "alt", "aria-label", "aria-description")


class Literal(HTMLParser):
    """What a visitor would read of a piece of HTML, with ⁂ where something is filled in."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []

    def handle_data(self, data: str) -> None:
        self.read.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.read += [value for name, value in attrs if value and name in TOLD]


def pieces(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(pieces(v) for v in node.values)
    return "⁂"


def words_of(markup: str) -> str:
    read = Literal()
    read.feed(markup)
    read.close()
    return SPELLED.sub("", " ".join(read.read))


@pytest.mark.parametrize("module", MODULES)
def test_no_words_stand_in_the_markup_of_a_module(module: str) -> None:
    inner = {
        id(v) for n in ast.walk(tree(module)) if isinstance(n, ast.JoinedStr) for v in n.values
    }
    for node in ast.walk(tree(module)):
        if isinstance(node, (ast.JoinedStr, ast.Constant)) and id(node) not in inner:
            markup = pieces(node)
            if re.search(r"</[a-z0-9]+>|<[a-z]+ [a-z-]+=|/>", markup):
                assert not re.search(r"[^\W\d_]", words_of(markup)), f"{module}: {markup[:90]}"


def shown(call: ast.Call) -> Iterator[ast.expr]:
    """What a component is given for visitors to read."""
    yield from (k.value for k in call.keywords if k.arg in TOLD)
    name = ast.unparse(call.func)
    if name == "gr.update":
        yield from (k.value for k in call.keywords if k.arg == "value")
    if name in ("gr.Button", "gr.Tab", "gr.Accordion", "gr.Markdown", "gr.Label"):
        yield from (*call.args[:1], *(k.value for k in call.keywords if k.arg == "value"))


@pytest.mark.parametrize("module", MODULES)
def test_no_words_are_given_to_a_component(module: str) -> None:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("gr."):
            for value in shown(node):
                words = re.sub(r"llmrec", "", pieces(value))
                assert not re.search(r"[^\W\d_]", words), f"{module}:{node.lineno}"


def test_what_is_looked_for_would_be_found() -> None:
    assert words_of('<p title="Hello">⁂</p>').strip(" ⁂") == "Hello"
    assert "there" in words_of("<p>Hi <b>there</b>")
    assert words_of("<h1><svg/>llmrec</h1>").strip() == ""
    button: Any = ast.parse('gr.Button("Send", elem_id="x")', mode="eval").body
    assert [pieces(v) for v in shown(button)] == ["Send"]
    assert "send" in TALK
    assert "Send" not in TALK
