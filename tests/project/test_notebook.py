"""The Python interface: what `from hashlens import ...` gives, and the notebook that shows it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

import hashlens
from hashlens.indexer.errors import IndexMissingError, InputError
from hashlens.retriever.index import default
from hashlens.retriever.index.default import FIRST_STEPS, find_index
from hashlens.retriever.recommendation import Query
from hashlens.retriever.recommender import Recommender

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "api.ipynb"


def test_the_names_are_those_of_their_modules() -> None:
    assert hashlens.Recommender is Recommender
    assert hashlens.Query is Query
    assert {name for name in hashlens.__all__ if getattr(hashlens, name).__doc__} == {
        *("Query", "Recommendation", "Recommender", "Selection")
    }
    with pytest.raises(AttributeError, match="Recomender"):
        hashlens.Recomender  # noqa: B018


def test_importing_it_is_cheap() -> None:
    program = (
        "import sys, hashlens; assert 'numpy' not in sys.modules\n"
        "from hashlens import Recommender\n"
        "heavy = {'torch', 'PIL', 'duckdb', 'faiss', 'pyarrow', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_a_folder_the_present_ones_index_answers(
    sample_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_index() == default.bundled_index()  # what ships answers where nothing else is
    monkeypatch.setattr(default, "bundled_index", lambda: tmp_path / "none")
    with pytest.raises(IndexMissingError) as caught:
        Recommender.open()
    assert all(command in str(caught.value) for command, _ in FIRST_STEPS)
    (tmp_path / "index").symlink_to(sample_index)
    assert find_index() == Path("index")
    by_default = Recommender.open().recommend(caption="coffee")
    named = Recommender.open(str(sample_index)).recommend(caption="coffee")
    assert [tag.tag for tag in by_default.tags] == [tag.tag for tag in named.tags]


def test_a_query_is_given_whole_or_in_parts(sample_index: Path, sample_folder: Path) -> None:
    recommender = Recommender.open(sample_index)
    cat = next(sample_folder.rglob("cat.png"))
    parts = recommender.recommend(image=str(cat), caption="nap #Coffee", seeds=["#Travel"], k=3)
    whole = recommender.recommend(Query(cat, "nap", ("travel", "coffee")), 3)
    assert parts == whole
    assert len(parts.tags) == 3
    for given in ({"caption": "x"}, {"seeds": ["x"]}, {"image": cat}):
        more: dict[str, Any] = given
        with pytest.raises(InputError, match="one of the two"):
            recommender.recommend(Query(caption="y"), **more)
    with pytest.raises(InputError, match="nothing to go by"):
        recommender.recommend()


def test_the_notebook_runs_and_shows_what_it_printed() -> None:
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    shown = [outputs(cell) for cell in notebook.cells]
    folder = {"metadata": {"path": str(ROOT)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=folder).execute()
    ran = [outputs(cell) for cell in notebook.cells]
    # Numbers differ from machine to machine; which cells answer, and where, does not.
    assert [bool(text) for text in ran] == [bool(text) for text in shown]
    text = "".join(ran)
    for part in ("'posts': 191", "#coffee", "'#cat'", ": because ", "'#mybrand'", "gone.jpg"):
        assert part in text
        assert part in "".join(shown)


def outputs(cell: Any) -> str:
    """What a cell printed and what it came to."""
    found = cell.get("outputs", [])
    texts = [o.get("text", "") + o.get("data", {}).get("text/plain", "") for o in found]
    return "".join(text for o, text in zip(found, texts, strict=True) if o.get("name") != "stderr")
