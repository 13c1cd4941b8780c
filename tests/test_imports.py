"""The import table of the project: who may import whom, and which file owns which library."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from graphlib import TopologicalSorter
from pathlib import Path

import numpy as np
import pytest

from indexer.config import RankingConfig
from indexer.schema import Candidates
from retriever import fitting
from retriever.lessons import Lessons
from retriever.ranker import Ranker
from retriever.reading import IndexReader
from tests.importtable import LIGHT, MAY_IMPORT, OWNERS, PICKLING, SLOW, WEB

ROOT = Path(__file__).parents[1]
OURS = ("indexer", "retriever", "evaluation", "hashlens_data", "cli")
PACKAGES = (*OURS, "indexer.readers")

SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): ast.parse(path.read_bytes())
    for folder in ("indexer", "retriever", "evaluation")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path.name != "__init__.py"
} | {"cli": ast.parse((ROOT / "cli.py").read_bytes())}
modules = pytest.mark.parametrize("module", SOURCES)


def imports(tree: ast.AST) -> Iterator[tuple[str, str | None]]:
    """Every import of a tree as (module, name taken from it or None)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (("." * node.level + (node.module or ""), a.name) for a in node.names)


def imports_on_loading(tree: ast.Module) -> Iterator[tuple[str, str | None]]:
    """Imports that run when the module is imported, those for type checkers left out."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from imports(node)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            waiting += ast.iter_child_nodes(node)


def ours(tree: ast.AST) -> set[str]:
    """Our own modules that a tree imports; `from indexer import store` counts as its module."""
    found = {
        f"{module}.{name}" if module in PACKAGES and name else module
        for module, name in imports(tree)
    }
    return {module for module in found if module.split(".")[0] in OURS}


def in_patterns(module: str, patterns: set[str]) -> bool:
    return any(fnmatch(module, pattern) for pattern in patterns)


def allowed_to(module: str) -> set[str]:
    named = [name for name in MAY_IMPORT if fnmatch(module, name)]
    assert named, f"{module} has no row in MAY_IMPORT: say there what it may import"
    return MAY_IMPORT[named[0]]


def outside(tree: ast.AST) -> set[str]:
    """Top-level names of the libraries that a tree imports."""
    names = {module.split(".")[0] for module, _ in imports(tree)}
    return names - (set(sys.stdlib_module_names) - {"ctypes"}) - set(OURS)


@modules
def test_imports_of_our_own_modules_are_in_the_table(module: str) -> None:
    allowed = allowed_to(module)
    assert {name for name in ours(SOURCES[module]) if not in_patterns(name, allowed)} == set()


def test_our_modules_import_one_another_in_one_direction() -> None:
    graph = {module: ours(tree) - {module} for module, tree in SOURCES.items()}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError, naming the cycle
    assert order.index("indexer.errors") < order.index("indexer.build") < order.index("cli")


@modules
def test_imports_are_absolute_and_of_public_names(module: str) -> None:
    private = {
        f"{source}: {name}"
        for source, name in imports(SOURCES[module])
        if source.startswith(".") or (source.split(".")[0] in OURS and (name or "").startswith("_"))
    }
    assert private == set()


@modules
def test_a_library_is_imported_by_its_owners_only(module: str) -> None:
    strangers = {
        library
        for library in outside(SOURCES[module])
        if not in_patterns(module, OWNERS.get(library, set()))
    }
    assert strangers == set()


@modules
def test_heavy_libraries_are_imported_where_they_are_used(module: str) -> None:
    loaded = {source.split(".")[0] for source, _ in imports_on_loading(SOURCES[module])}
    loaded -= {library for library in WEB if in_patterns(module, OWNERS[library])}
    assert loaded - set(sys.stdlib_module_names) - set(OURS) - LIGHT == set()


@modules
def test_nothing_is_pickled(module: str) -> None:
    tree = SOURCES[module]
    assert {source.split(".")[0] for source, _ in imports(tree)} & PICKLING == set()
    allowing = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for word in node.keywords
        if word.arg == "allow_pickle" and ast.unparse(word.value) != "False"
    ]
    assert allowing == []


@modules
def test_only_the_command_line_prints(module: str) -> None:
    printing = [
        node.lineno
        for node in ast.walk(SOURCES[module])
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"print", "typer.echo"}
    ]
    allowed = module in {"cli", "retriever.printed", "retriever.upkeep"}
    assert allowed or module.endswith(".commands") or not printing


@pytest.mark.parametrize("loaded", ["cli", "retriever.recommend, retriever.tables"])
def test_help_and_a_caption_query_do_not_wait_for_slow_libraries(loaded: str) -> None:
    program = f"import sys, {loaded}; print(*[name for name in {SLOW} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == []


def test_a_caption_query_loads_no_slow_library(tiny_index: IndexReader, tmp_path: Path) -> None:
    """Answered whole, by a ranker of the index's own."""
    folder = shutil.copytree(tiny_index.generation.folder, tmp_path / "index")
    fitting.save(a_ranker(), folder / "ranker")
    program = (
        "import sys; from pathlib import Path\n"
        "from indexer.config import BuildConfig; from indexer.generation import unsealed\n"
        "from indexer.schema import Query; from retriever.reading import IndexReader\n"
        "from retriever.recommend import Recommender; from retriever.tables import *\n"
        f"found = unsealed(Path({str(folder)!r}), {tiny_index.manifest.topics!r},\n"
        f"    {tiny_index.manifest.config!r}, {tiny_index.manifest.counts!r})\n"
        "answer = Recommender(IndexReader(found)).recommend(\n"
        "    Query(caption='a walk at home', seeds=('kitten',)), 3, explain=True)\n"
        "assert len(answer.tags) == 3 and answer.tags[0].evidence\n"
        f"print(*[name for name in {SLOW} if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (result.stdout.split(), result.stderr) == ([], "")


def a_ranker() -> Ranker:
    """One that learned that the most used hashtags are the best."""
    draw = np.random.default_rng(1)
    uses = draw.random((4000, 1)).astype(np.float32)
    found = Candidates(np.repeat(np.arange(400), 10), np.zeros(4000, np.int64), COLUMN, uses)
    right = draw.random(4000) < uses[:, 0]
    folds = np.arange(400) % 2
    return fitting.fit(Lessons(found, right, folds), RankingConfig())


COLUMN = ("popularity: posts",)
