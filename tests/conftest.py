"""What several test files share: a folder of real posts, and a small index built once."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from hashlens.indexer.config import BuildConfig, VectorConfig
from hashlens.indexer.pipeline.build import build
from hashlens.indexer.sample import gather_sample
from hashlens.indexer.storage import count_matrices as counts
from hashlens.retriever.index.index_reader import IndexReader
from tests.support import tiny_index as tiny

# How fast a machine is decides no test.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")
# A runner in the background ignores Ctrl-C, and so would every process that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["HASHLENS_CONFIG"] = os.devnull  # a developer's own defaults decide no test

REAL_POSTS = Path(os.environ.get("HASHLENS_POSTS", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def posts_folder() -> Path:
    """A folder of public research posts; tests that need it skip where it is absent."""
    if not REAL_POSTS.is_dir():
        pytest.skip("needs a folder of real posts: set HASHLENS_POSTS to it")
    return REAL_POSTS


@pytest.fixture(scope="session")
def sample_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample posts and their pictures."""
    return gather_sample(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="session")
def sample_index(sample_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of the sample posts, with pictures and real encoder weights."""
    index = tmp_path_factory.mktemp("index")
    config = BuildConfig(encoder="efficientnet-lite0", vectors=VectorConfig(min_count=1))
    build([sample_folder], index, config=config)
    return index


@pytest.fixture(scope="session")
def tiny_index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndexReader]:
    """The index of `tiny.ROWS` and `tiny.PICTURES`; two posts make a hashtag one of EASE's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counts, "EASE_POSTS", 2)
        index = tiny.reader(tiny.ROWS, tmp_path_factory.mktemp("tiny"), tiny.PICTURES)
    yield index
    index.store.close()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published index of the tiny posts, not to be touched."""
    index = tmp_path_factory.mktemp("sound") / "index"
    tiny.published(index)
    return index


@pytest.fixture
def index(sound: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return shutil.copytree(sound, tmp_path / "index")


@pytest.fixture(scope="session")
def lite_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file of a Milvus Lite that tests share: their collections have names of their own."""
    pytest.importorskip("milvus_lite", reason='needs pip install "hashlens[milvus]"')
    return str(tmp_path_factory.mktemp("milvus") / "vectors.db")


@pytest.fixture
def lite(lite_file: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Its address, which a user has named."""
    monkeypatch.setenv("HASHLENS_VECTORS", f"milvus:{lite_file}")
    return lite_file
