"""Nothing learns from the panel, and the panel has nothing that others learn from."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hashlens.evaluation.tasks.near_duplicates import find_near_duplicates
from hashlens.evaluation.usefulness.panel import panel_default, read_panel
from hashlens.indexer.config import data_path
from hashlens.indexer.text.hashtags import extract, key, strip, tokens
from hashlens.retriever.index.default import bundled_index
from hashlens.retriever.index.index_reader import IndexReader

ROOT = Path(__file__).parents[3]
READERS = ("evaluation/usefulness/",)  # of data/panel
CALLERS = ("cli.py", *READERS)  # may import the readers: the command is registered in the first


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Each file of code with its tree; tests are no part of the product."""
    paths = [ROOT / "cli.py", ROOT / "__init__.py", ROOT / "__main__.py"]
    for folder in ("indexer", "retriever", "evaluation", "data"):
        paths += sorted((ROOT / folder).rglob("*.py"))
    for path in paths:
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def names_panel(tree: ast.Module) -> bool:
    """Whether a string of the code, docstrings aside, is a path to the panel."""
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    parts = [t.replace("\\", "/").split("/") for t in texts if isinstance(t, str) and " " not in t]
    return any("panel" in each for each in parts)


def imports_usefulness(tree: ast.Module) -> bool:
    """Whether the code imports the package that reads the panel."""
    modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules += [
        f"{node.module}.{name.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    ]
    plain = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
    modules += [name.name for node in plain for name in node.names]
    return any("evaluation.usefulness" in module for module in modules)


def test_only_usefulness_names_the_panel() -> None:
    found = [name for name, tree in sources() if names_panel(tree)]
    assert [name for name in found if not name.startswith(READERS)] == []
    assert "evaluation/usefulness/panel.py" in found


def test_only_the_command_line_imports_usefulness() -> None:
    found = [name for name, tree in sources() if imports_usefulness(tree)]
    assert [name for name in found if not name.startswith(CALLERS)] == []
    assert "cli.py" in found


@pytest.mark.parametrize(
    "code",
    ['data_path("panel", "posts.jsonl")', 'Path("data/panel")', "open('data/panel/posts.jsonl')"],
)
def test_a_path_to_the_panel_is_seen(code: str) -> None:
    assert names_panel(ast.parse(code))
    assert not names_panel(ast.parse(code.replace("panel", "sample")))


@pytest.mark.parametrize(
    "code",
    [
        "from hashlens.evaluation.usefulness.panel import read_panel",
        "from hashlens.evaluation import usefulness",
        "import hashlens.evaluation.usefulness.study",
    ],
)
def test_an_import_of_usefulness_is_seen(code: str) -> None:
    assert imports_usefulness(ast.parse(code))


def words(caption: str, hashtags: list[str]) -> list[str]:
    """Words and hashtags of a post, as near-duplicates are compared by."""
    tags = [key(tag) for tag in [*hashtags, *extract(caption)]]
    return [*tokens(strip(caption)), *(f"#{tag}" for tag in tags)]


def panel_words() -> dict[str, list[str]]:
    posts = read_panel(panel_default()).posts
    return {post.post_id: words(post.caption, list(post.seeds)) for post in posts}


def find_twins(texts: list[list[str]], first: int) -> set[tuple[int, int]]:
    """Pairs of nearly the same texts, of which one is among the first."""
    return {(int(a), int(b)) for a, b in find_near_duplicates(texts) if min(a, b) < first}


def shipped_texts(folder: Path) -> list[list[str]]:
    """Words of each post or example below a folder of data."""
    found: list[list[str]] = []
    for path in sorted(folder.rglob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            tags = [tag for tag in row.get("hashtags", []) if isinstance(tag, str)]
            found.append(words(str(row.get("caption", "")), tags))
    return found


def test_no_two_posts_of_the_panel_say_nearly_the_same() -> None:
    texts = list(panel_words().values())
    assert find_twins(texts, len(texts)) == set()


@pytest.mark.parametrize("name", ["sample", "subjects"])
def test_no_post_of_the_panel_is_nearly_one_of_the_data_that_ship(name: str) -> None:
    folder = data_path(name)
    if not folder.is_dir():
        pytest.skip(f"there is no data/{name}")
    panel, shipped = list(panel_words().values()), shipped_texts(folder)
    assert shipped
    assert find_twins([*panel, *shipped], len(panel)) == set()
    # A twin would be seen.
    longest = max(panel, key=len)
    assert find_twins([*panel, *shipped, longest[:-1]], len(panel)) != set()


def test_the_bundled_index_holds_no_post_at_all() -> None:
    index = IndexReader.open(bundled_index())
    assert not np.asarray(index.counts.posts).any()
    assert index.store.rows("select count(*) from posts") == [(0,)]
