"""Builds by Ray on a real cluster of two nodes: the index is the local one, if a node dies, too."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from hashlens.cli import app
from hashlens.indexer.config import ALL_TOPICS, BuildConfig, VectorConfig
from hashlens.indexer.corpus.corpus import Corpus
from hashlens.indexer.corpus.engine import LOCAL, Engine
from hashlens.indexer.distributed.image_batches import EncoderSpec, encode_batch, path_batches
from hashlens.indexer.distributed.ray_engine import ray_engine
from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.errors import ClusterError, ConfigError, EncoderError, InputError
from hashlens.indexer.generations.generation import open_current
from hashlens.indexer.images.encoder import open_encoder
from hashlens.indexer.pipeline.build import BuildReport, build
from hashlens.indexer.posts.reader import Sources
from hashlens.indexer.progress import NullProgress
from hashlens.indexer.storage.store import Store
from hashlens.indexer.verify.verify import verify
from hashlens.retriever.ranking.ranker import Ranker
from tests.support.posts_files import write_csv, write_parquet

# Ray leaves files of its logs open, and warns of what it does itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
ROOT = Path(__file__).parents[3]
PICTURES = 120
SMALL = BuildConfig(
    encoder="efficientnet-lite0", vectors=VectorConfig("word2vec", 8, min_count=1, epochs=1)
)
NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 100 << 20, "include_dashboard": False}
# A node is taken for dead after two seconds without a process to answer, not fifteen.
SOON = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}


@dataclass(frozen=True)
class TwoNodes:
    """A cluster of two nodes of one core each, and the address for Ray's client."""

    nodes: Any
    client: str

    @property
    def address(self) -> str:
        """Of the head."""
        return str(self.nodes.address)


@pytest.fixture(scope="module")
def cluster() -> Iterator[TwoNodes]:
    pytest.importorskip("ray.data", reason="needs Ray: pip install 'hashlens[cluster]'")
    try:
        found = started()
    except Exception:  # of Ray's own: its processes give up on a machine that is busy
        found = started()
    yield found
    found.nodes.shutdown()


def started() -> TwoNodes:
    from ray.cluster_utils import Cluster

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    head = NODE | {"_system_config": SOON, "ray_client_server_port": port}
    found = Cluster(initialize_head=True, head_node_args=head)
    try:
        found.add_node(**NODE)
        found.wait_for_nodes()
        answering(port)
    except BaseException:
        found.shutdown()
        raise
    return TwoNodes(found, f"ray://127.0.0.1:{port}")


def answering(port: int, seconds: float = 120) -> None:
    """Wait until the server of Ray's client listens: on a busy machine the nodes come first."""
    until = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


@pytest.fixture(scope="module")
def posts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three tables of posts with small pictures; some rows and pictures cannot be used."""
    folder = tmp_path_factory.mktemp("posts")
    (folder / "pictures").mkdir()
    draw = np.random.default_rng(1)
    rows = []
    for n in range(PICTURES):
        colours = draw.integers(0, 256, (6, 8, 3), np.uint8)
        Image.fromarray(colours).resize((80, 60)).save(folder / "pictures" / f"{n}.jpg")
        first, second, third = draw.choice(
            ["dog", "cat", "pizza", "beach", "love", "sunday", "home"], 3, False
        )
        rows.append(
            {
                "id": f"p{n % (PICTURES - 1)}",  # the last has the id of the first
                "image": f"pictures/{n}.jpg",
                "caption": f"{first} with {second} number{n} #{first} #{second} #{third}",
                "author": f"a{n % 7}" if n % 3 else None,
                "topic": ["pets", "food", "travel", None][n % 4],
            }
        )
    (folder / "pictures" / "7.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut short")
    (folder / "pictures" / "8.jpg").unlink()
    for table in range(3):
        write_parquet(folder / f"shard-{table}.parquet", rows[table::3])
    (folder / "shard-3.parquet").write_bytes(b"PAR1 cut short")
    return folder


def built(posts: Path, index: Path, engine: Engine = LOCAL, progress: Any = None) -> BuildReport:
    return build([posts], index, config=SMALL, workers=1, engine=engine, progress=progress)


@pytest.fixture(scope="module")
def local(posts: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BuildReport]:
    """The same posts, built by this process alone."""
    index = tmp_path_factory.mktemp("local")
    return index, built(posts, index)


def assert_same(index: Path, report: BuildReport, local: tuple[Path, BuildReport]) -> None:
    """Hold an index, and what was said of it, to the local one."""
    assert verify(index, open_ranker=Ranker.open).sound
    left, right = open_current(index), open_current(local[0])
    exact = [name for name in right.manifest.files if name.split("/")[0] in ("counts", "trained")]
    assert len(exact) > 20
    assert {n: left.manifest.files[n] for n in exact} == {n: right.manifest.files[n] for n in exact}
    assert left.manifest.files.keys() == right.manifest.files.keys()
    assert rows_of(left.folder) == rows_of(right.folder)
    for found, wanted in zip(vectors_of(left.folder), vectors_of(right.folder), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert replace(report, seconds=0) == replace(local[1], seconds=0)


def rows_of(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    with Store.open(folder / "posts.duckdb") as store:
        names = [name for (name,) in store.rows("select table_name from duckdb_tables()")]
        return {name: store.rows(f"from {name}") for name in names}


def vectors_of(folder: Path) -> Iterator[Any]:
    """The vectors of pictures, the probabilities of their classes, and each space's vectors."""
    with Store.open(folder / "posts.duckdb") as store:
        corpus = Corpus.load(folder, store)
    assert corpus.images is not None
    yield from (corpus.images.ids, corpus.images.vectors, corpus.classes)
    places = sorted(path for path in (folder / "words").iterdir())
    assert ALL_TOPICS in [path.name for path in places]
    assert len(places) > 3
    for place in places:
        space = WordSpace.open(place)
        yield from (space.counts, space.vectors.astype(np.float32))


def test_an_index_through_rays_client_is_the_local_one(
    cluster: TwoNodes, posts: Path, local: tuple[Path, BuildReport], tmp_path: Path
) -> None:
    for left in (2, 1, 0):
        try:
            with ray_engine(cluster.client, pictures=16) as engine:
                report = built(posts, tmp_path / "index", engine)
            break
        except ClusterError as error:  # Ray's own server gives up on a busy machine
            if "Initialization failure" not in str(error) or not left:
                raise
    assert_same(tmp_path / "index", report, local)
    assert {Path(r.source).name for r in report.rejections} >= {"7.jpg", "shard-3.parquet"}
    assert report.counts["pictures"] == PICTURES - 3


@dataclass
class Killing(NullProgress):
    """Kills a node when the first pictures are encoded and it is at work on others."""

    cluster: TwoNodes
    stages: list[str] = field(default_factory=list)
    done: int = 0
    killed_at: int | None = None
    killer: threading.Thread | None = None

    def stage(self, name: str, total: int | None = None) -> None:
        self.stages.append(name)

    def advance(self, steps: int = 1) -> None:
        if self.stages[-1] == "Encoding pictures":
            self.done += steps
            if self.killer is None:
                self.killer = threading.Thread(target=self.kill)
                self.killer.start()

    def kill(self) -> None:
        (node,) = self.cluster.nodes.worker_nodes
        while not self.is_at_work(node):
            if self.stages[-1] != "Encoding pictures":
                return
            time.sleep(0.01)
        self.killed_at = self.done
        self.cluster.nodes.remove_node(node, allow_graceful=False)

    def is_at_work(self, node: Any) -> bool:
        from ray._private.state import available_resources_per_node

        left = available_resources_per_node().get(node.node_id, {})
        return bool(left.get("CPU", 0) == 0)


def start_process(node: Any, picture: Path) -> None:
    """Have a node start its process, which takes longer than the other needs for all pictures."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    (batch,) = path_batches([picture], 1)
    there = NodeAffinitySchedulingStrategy(node.node_id, soft=False)
    task = ray.remote(encode_batch).options(num_cpus=1, scheduling_strategy=there)
    ray.get(task.remote(batch, EncoderSpec.of(open_encoder("efficientnet-lite0"))))


def test_a_node_killed_half_way_changes_nothing(
    cluster: TwoNodes, posts: Path, local: tuple[Path, BuildReport], tmp_path: Path
) -> None:
    killing = Killing(cluster)
    with ray_engine(cluster.address, pictures=4) as engine:
        (node,) = cluster.nodes.worker_nodes
        start_process(node, posts / "pictures" / "0.jpg")
        try:
            report = built(posts, tmp_path / "index", engine, killing)
        finally:
            assert killing.killer is not None
            killing.killer.join()
            cluster.nodes.add_node(**NODE)
    assert killing.killed_at is not None, "the second node was never at work"
    assert 0 < killing.killed_at < PICTURES * 3 / 4
    assert killing.done == PICTURES - 2  # every picture once
    assert_same(tmp_path / "index", report, local)


def test_errors_of_ours_come_out_of_tasks_as_they_were_raised(
    cluster: TwoNodes, posts: Path, tmp_path: Path
) -> None:
    encoder = replace(open_encoder("efficientnet-lite0"), weights_sha256="0" * 64)
    picture = posts / "pictures" / "1.jpg"
    strange = write_csv(tmp_path / "strange.csv", [])
    strange.write_text("colour,shape\nred,round\n")
    good = write_csv(tmp_path / "good.csv", [{"caption": "#one"}])
    with ray_engine(cluster.address) as engine:
        with pytest.raises(EncoderError, match="expected 0000") as raised:
            engine.encode_images(encoder, [picture], [None], workers=1, advance=lambda _: None)
        assert type(raised.value) is EncoderError
        with pytest.raises(InputError, match=r"strange\.csv: found columns colour, shape") as told:
            list(engine.read_posts(Sources([good, strange], "instagram", "tables"), []))
    assert "\n" not in str(raised.value) + str(told.value)


def test_an_address_where_nobody_answers_is_told_soon() -> None:
    pytest.importorskip("ray.data", reason="needs Ray: pip install 'hashlens[cluster]'")
    began = time.monotonic()
    with pytest.raises(ClusterError, match=r"no Ray that answers at 127\.0\.0\.1:9 "):
        ray_engine("127.0.0.1:9").__enter__()
    with pytest.raises(ClusterError, match="expected auto, HOST:PORT"):
        ray_engine("head-node").__enter__()
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ClusterError, match="out"):
        ray_engine(f"ray://127.0.0.1:{silent.getsockname()[1]}").__enter__()
    assert time.monotonic() - began < 15


def test_a_missing_package_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'hashlens\[cluster\]'"):
        ray_engine().__enter__()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--address", "auto"], "--engine ray"),
        (["--engine", "ray", "--from-starter"], "--from-starter"),
        (["--engine", "spark"], "spark"),
    ],
)
def test_options_that_do_not_go_together_are_a_usage_error(words: list[str], said: str) -> None:
    found = CliRunner().invoke(app, ["build", "posts.jsonl", *words])
    assert found.exit_code == 2
    assert said in found.stderr


def processes_of(parent: int) -> set[int]:
    """Processes that have it among the environment that they were started with."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"HASHLENS_TEST={parent}".encode() in path.read_bytes().split(b"\0"):
                found.add(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_a_ray_of_our_own_is_silent_and_leaves_with_an_interrupted_build(tmp_path: Path) -> None:
    pytest.importorskip("ray.data", reason="needs Ray: pip install 'hashlens[cluster]'")
    write_csv(tmp_path / "posts.csv", [{"caption": f"walk {n} #dog #park"} for n in range(9)])
    words = ["build", "posts.csv", "--index", "index", "--engine", "ray"]
    program = f"import sys; from hashlens.cli import app; app({words!r})"
    environ = os.environ | {"HASHLENS_TEST": str(os.getpid()), "PYTHONPATH": str(ROOT)}
    call = [sys.executable, "-c", program]
    done = subprocess.run(
        call, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("index: generation 1 with 9 posts")
    assert len(done.stdout.splitlines()) == 1
    assert "ray" not in done.stderr.lower().replace("ray engine", "")
    assert processes_of(os.getpid()) == set()
    with subprocess.Popen(
        call, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        while len(processes_of(os.getpid())) < 4:  # its own, and some of Ray's
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=30)
    assert running.returncode == 130, said
    assert processes_of(os.getpid()) == set()
