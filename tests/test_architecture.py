"""The rules of the house, read from the imports of every file."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import llmrec
from benchmarks import import_time

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "llmrec"

# A module may import from its own layer and from those before it, never from a later one.
LAYERS = (
    "_version errors types arrays",
    "titles quantities deixis markdown cleaning languages people smallwords",
    "wishes lexicon orders similarity trie folders records embedding options softmax",
    "passages products faithfulness cues storage building catalog models",
    "prompting decoding",
    "questions routing preferences wording metrics datasets ranker relaxing",
    "signals planning choosing answering uncertainty recommender",
    "evaluation training bulk",
    "hub",
    "demo",
)
SCRIPTS = ("app.py", "train", "eval", "space", "benchmarks")
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer.split()}
HEAVY = frozenset(
    "torch transformers tokenizers safetensors peft trl accelerate bitsandbytes datasets evaluate "
    "lancedb pyarrow pandas llguidance sentence_transformers sklearn scipy matplotlib gradio "
    "huggingface_hub tqdm yaml httpx trackio tensorboard ray".split()
)
AT_HOME = {
    "ray": ("llmrec/bulk/*",),
    "gradio": ("llmrec/demo/*", "app.py", "eval/metrics/app.py"),
    "lancedb": ("llmrec/catalog.py", "llmrec/building.py", "llmrec/storage.py"),
    "pyarrow": (
        "llmrec/arrays.py",
        "llmrec/smallwords.py",
        "llmrec/catalog.py",
        "llmrec/building.py",
        "llmrec/storage.py",
        "llmrec/bulk/*",
        "llmrec/datasets/*",
        "benchmarks/*",
    ),
}


@dataclass(frozen=True)
class Import:
    """One import of one file. ``lazy``: inside a function, or for type checkers only."""

    path: str
    line: int
    name: str
    lazy: bool

    def __str__(self) -> str:
        return f"{self.path}:{self.line} imports {self.name}"


def files() -> list[Path]:
    """Every Python file of the package, and the scripts."""
    scripts = [p for s in SCRIPTS for p in sorted((ROOT / s).rglob("*.py")) or [ROOT / s]]
    return sorted(PACKAGE.rglob("*.py")) + [p for p in scripts if p.is_file()]


@cache
def imports(path: Path) -> tuple[Import, ...]:
    """The imports of a file, ``from llmrec import x`` as ``llmrec.x``."""
    where = path.relative_to(ROOT).as_posix()
    return tuple(
        Import(where, node.lineno, name, lazy)
        for node, lazy in _nodes(ast.parse(path.read_text(encoding="utf-8")), False)
        for name in _names(node)
    )


def _nodes(tree: ast.AST, lazy: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node, lazy
        deferred = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            deferred = True
        yield from _nodes(node, lazy or deferred)


def _names(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    assert node.level == 0, f"line {node.lineno}: write imports from the root of the package"
    if node.module == "llmrec":
        return [f"llmrec.{alias.name}" for alias in node.names]
    return [str(node.module)]


def module_of(name: str) -> str | None:
    """The part of llmrec that an import means: ``llmrec.models.base`` -> ``models``."""
    root, _, rest = name.partition(".")
    return rest.partition(".")[0] or None if root == "llmrec" else None


def of_package() -> Iterator[tuple[str, Import]]:
    """Every import of the package itself, with the module it stands in."""
    for path in files():
        if path.is_relative_to(PACKAGE) and path != PACKAGE / "__init__.py":
            name = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
            yield from ((name, i) for i in imports(path))


def test_every_module_has_its_place() -> None:
    parts = {p.relative_to(PACKAGE).parts[0].removesuffix(".py") for p in PACKAGE.rglob("*.py")}
    assert parts - set(RANK) - {"__init__"} == set(), "say in LAYERS where the new module stands"


def test_imports_point_down() -> None:
    wrong = []
    for name, i in of_package():
        if (target := module_of(i.name)) and RANK.get(target, len(LAYERS)) > RANK[name]:
            wrong.append(str(i))
        if i.name.partition(".")[0] in {s.removesuffix(".py") for s in SCRIPTS}:
            wrong.append(str(i))
    assert wrong == []


def test_there_is_no_circle() -> None:
    graph: dict[str, set[str]] = {}
    for name, i in of_package():
        if (target := module_of(i.name)) and target != name:
            graph.setdefault(name, set()).add(target)
    TopologicalSorter(graph).prepare()  # raises CycleError with the circle


@pytest.mark.parametrize(
    ("module", "may_know"),
    [
        ("models", {"errors", "types", "models"}),
        ("metrics", {"errors", "types", "titles", "wishes", "metrics"}),
        ("prompting", set(RANK) - {"models", "catalog", "decoding"}),
    ],
)
def test_what_a_module_may_know(module: str, may_know: set[str]) -> None:
    known = {(module_of(i.name), str(i)) for name, i in of_package() if name == module}
    assert [
        said for target, said in sorted(known, key=str) if target and target not in may_know
    ] == []


def test_the_nouns_need_the_standard_library_only() -> None:
    allowed = {*sys.stdlib_module_names, "llmrec"}
    roots = {
        (i.name.partition(".")[0], str(i)) for n, i in of_package() if n in ("types", "errors")
    }
    assert [said for root, said in sorted(roots) if root not in allowed] == []


def at_home(i: Import, library: str) -> bool:
    return any(fnmatch(i.path, home) for home in AT_HOME.get(library, ()))


def test_heavy_modules_are_imported_inside_functions() -> None:
    wrong = []
    for i in (i for path in files() for i in imports(path) if not i.lazy):
        library = i.name.partition(".")[0]
        if fnmatch(i.path, "eval/metrics/*/*.py"):
            continue  # `evaluate` reads the imports of its modules from their first lines
        if library in HEAVY and not (library == "gradio" and at_home(i, library)):
            wrong.append(str(i))
    assert wrong == []


@pytest.mark.parametrize("library", sorted(AT_HOME))
def test_a_library_is_used_in_one_place(library: str) -> None:
    used = [i for path in files() for i in imports(path) if i.name.partition(".")[0] == library]
    assert [str(i) for i in used if not at_home(i, library)] == []


def test_importing_llmrec_loads_nothing_heavy() -> None:
    code = "import json, sys, llmrec; print(json.dumps(sorted(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    roots = {name.partition(".")[0] for name in json.loads(out.stdout)}
    assert "llmrec" in roots
    assert roots & (HEAVY | {"numpy", "rapidfuzz"}) == set()


def test_the_import_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert import_time.main(["--repeats", "2", "--json", str(tmp_path / "figures.json")]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert f"median | {figures['median_ms']} |" in capsys.readouterr().out
    assert figures["loads"] == ["llmrec"]
    assert figures["best_ms"] <= figures["median_ms"] <= figures["worst_ms"]


def test_the_public_names() -> None:
    assert llmrec.__all__ == sorted(llmrec.__all__) == dir(llmrec)
    assert llmrec.__all__ == [
        "Answer",
        "BuildReport",
        "Catalog",
        "CatalogError",
        "Conversation",
        "Example",
        "HubError",
        "InputError",
        "Item",
        "LLMRecError",
        "LearnedRanker",
        "Message",
        "MissingExtraError",
        "ModelError",
        "Passage",
        "Preferences",
        "Recommendation",
        "Recommender",
        "Reply",
        "Source",
        "TitleMatch",
        "Uncertainty",
        "UnknownItemError",
        "__version__",
    ]
    assert all(getattr(llmrec, name) is not None for name in llmrec.__all__)
    with pytest.raises(AttributeError, match="module 'llmrec' has no attribute 'Recomender'"):
        llmrec.Recomender  # type: ignore[attr-defined]  # noqa: B018


def test_every_module_says_what_it_is() -> None:
    silent = [str(p) for p in files() if not ast.get_docstring(ast.parse(p.read_text("utf-8")))]
    assert silent == []
