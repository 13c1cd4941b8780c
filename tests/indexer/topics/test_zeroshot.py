"""An index whose encoder reads text: zero-shot topics and the words of hashtags, by open_clip.

Its weights are turned so that what is said of three photos lies where they differ.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hashlens.evaluation.benchmark.topic_accuracy import judge_topics
from hashlens.indexer.config import BuildConfig, VectorConfig
from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.images.encoder import open_encoder
from hashlens.indexer.pipeline.build import build
from hashlens.indexer.pipeline.ranker_training import RankerTask
from hashlens.indexer.pipeline.update import update
from hashlens.indexer.topics.image_model import MIN_PROBABILITY
from hashlens.indexer.topics.model import TopicTable, load_topics
from hashlens.indexer.topics.prompts import PLAIN, TEMPLATES, TextReader, topic_texts
from hashlens.indexer.types import Post
from hashlens.indexer.vectors.index import VectorIndex
from hashlens.retriever.candidates.channels import CHANNELS
from hashlens.retriever.candidates.generate import COMPANIONS, generate_candidates
from hashlens.retriever.recommendation import Query
from hashlens.retriever.recommender import Recommender
from hashlens.retriever.selection.selection import Selection
from hashlens.retriever.training.cross_fit import collect_examples
from hashlens.retriever.training.examples import TrainingExamples
from tests.project.test_imports import SLOW
from tests.support.encoder_fixtures import PHOTOS, TINY_CLIP, clip_vectors, drawn_clip, taught_clip

ROOT = Path(__file__).parents[3]
PICTURES = {"pets": "chelsea", "food": "coffee", "selfie": "astronaut"}
SAID = {"pets": ["dog", "cat"], "food": ["coffee", "cake"], "selfie": ["portrait", "goldenhour"]}
WORDS = {"goldenhour": "golden hour"}
OTHERS = ("rocket", "china")
FILLERS = [f"filler{number}" for number in range(40)]
SHOWN = [PHOTOS[name] for name in PICTURES.values()]


def prompts(topic: str) -> list[str]:
    spoken = [topic, *(WORDS.get(tag, tag) for tag in SAID[topic])]
    return [template.format(words) for words in spoken for template in TEMPLATES]


@dataclass(frozen=True)
class Built:
    network: Any
    weights: Path
    cache: Path
    index: Path
    asked: list[Path]  # the pictures of the topics, and two of none
    examples: TrainingExamples | None

    def recommender(self) -> Recommender:
        return Recommender.open(self.index, self.weights)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """No post with a picture has a topic; hashtags of the topics are rarer than 40 others."""
    folder, cache = tmp_path_factory.mktemp("posts"), tmp_path_factory.mktemp("cache")
    network = drawn_clip(tmp_path_factory.mktemp("configs"))
    taught_clip(network, SHOWN, [prompts(t) for t in SAID])
    weights = tmp_path_factory.mktemp("weights") / "tiny.pth"
    torch.save(network.state_dict(), weights)
    shutil.copy(PHOTOS["flower"], folder / "flower.jpg")
    rows: list[dict[str, object]] = [{"image": "flower.jpg", "hashtags": FILLERS[:2]}]
    rows += [{"caption": f"golden hour {n}", "hashtags": FILLERS[n % 30 :][:20]} for n in range(60)]
    rows += [{"caption": "talk", "hashtags": tags} for tags in SAID.values()]
    rows.append({"caption": "mine", "author": "ann", "hashtags": ["annsbrand"]})
    rows.append({"caption": "yours", "author": "bob", "hashtags": FILLERS[:1]})
    (folder / "posts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    lines = [f"{topic} = {tags}" for topic, tags in SAID.items()]
    (folder / "topics.toml").write_text("\n".join(["[topics]", *lines]))
    config = BuildConfig(encoder=TINY_CLIP, vectors=VectorConfig("word2vec", 8, min_count=1))
    examples: list[TrainingExamples | None] = []

    def keep(task: RankerTask, _: Path) -> tuple[str, ...]:
        examples.append(collect_examples(task))
        return ()

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HASHLENS_CACHE", str(cache))
        index, topics = folder / "index", folder / "topics.toml"
        build(
            [folder / "posts.jsonl"],
            index,
            config=config,
            topics_file=topics,
            weights=weights,
            fit_ranker=keep,
        )
        asked = [*SHOWN, *(whole(name, folder) for name in OTHERS)]
        yield Built(network, weights, cache, index, asked, examples[0])


def whole(name: str, folder: Path) -> Path:
    """A JPEG as PNG, which no decoder cuts short."""
    Image.open(PHOTOS[name]).save(folder / f"{name}.png")
    return folder / f"{name}.png"


def references(built: Built) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of the pictures that are asked about, and of the topics, plainly by open_clip."""
    images, texts = clip_vectors(built.network, built.asked, [p for t in SAID for p in prompts(t)])
    means = [part.mean(axis=0) for part in np.split(texts, len(SAID))]
    return images, np.array([mean / np.linalg.norm(mean) for mean in means])


def test_topics_are_told_by_their_names_alone(built: Built) -> None:
    images, texts = references(built)
    recommender = built.recommender()
    model = recommender.index.topics
    assert model.has_image_model
    assert model.image
    assert model.image.zero_shot
    assert np.abs(model.image.zero_shot.texts - texts).max() < 1e-4
    raised = np.exp(100 * (images @ texts.T).astype(np.float64))
    expected = (1 - MIN_PROBABILITY) * raised / raised.sum(
        axis=1, keepdims=True
    ) + MIN_PROBABILITY / 3
    found = recommender.prepare([Query(image=path) for path in built.asked]).topics
    assert found.topics == tuple(SAID)
    assert np.abs(found.probs - expected).max() < 1e-3  # vectors 1e-5 apart, a hundred times
    assert found.probs[:3].argmax(axis=1).tolist() == [0, 1, 2]
    assert found.probs[:3].max(axis=1).min() > 0.98


def test_hashtags_are_found_by_their_words(built: Built) -> None:
    tags = [tag for tags in SAID.values() for tag in tags] + FILLERS
    words = WORDS | {tag: tag.replace("filler", "filler ") for tag in FILLERS}
    texts = [PLAIN.format(words.get(tag, tag)) for tag in tags]
    images, vectors = clip_vectors(built.network, built.asked, texts)
    recommender = built.recommender()
    index = recommender.index
    ids = index.tag_ids([*tags, "annsbrand"])
    saved = VectorIndex.open(index.generation.folder / "texts" / "hashtags.faiss")
    assert saved.ids.tolist() == sorted(ids[tag] for tag in tags)  # without one author's brand
    kept = saved.reconstruct(np.array([ids[tag] for tag in tags]))
    assert np.abs(kept - vectors).max() < 1e-4
    batch = recommender.prepare(
        [Query(caption="walk"), *(Query(image=path) for path in built.asked)]
    )
    found = generate_candidates(index, batch)
    columns = [found.columns.index(f"picture words: {name}") for name in ("cosine", "share")]
    cosines = images @ vectors.T
    raised = np.exp(100 * cosines.astype(np.float64))
    shares = raised / raised.sum(axis=1, keepdims=True)
    for picture in range(len(built.asked)):
        mine = found.queries == picture + 1
        places = {
            tag: row for row, tag in zip(np.flatnonzero(mine), found.tag_ids[mine], strict=True)
        }
        rows = found.scores[[places[ids[tag]] for tag in tags]][:, columns]
        assert np.abs(rows[:, 0] - cosines[picture]).max() < 1e-4
        assert np.abs(rows[:, 1] - shares[picture]).max() < 1e-3
    assert np.isnan(found.scores[found.queries == 0][:, columns]).all()


def test_what_the_words_find_reaches_the_answer(built: Built) -> None:
    """The ranker that ships does not know the channel, but sees its candidates."""
    index, query = built.recommender().index, Query(image=PHOTOS["chelsea"])
    rare = {tag for tags in SAID.values() for tag in tags}
    said = []
    for silenced in ({*CHANNELS, COMPANIONS}, {*CHANNELS, COMPANIONS} - {"picture words"}):
        recommender = Recommender(index, built.weights, without=silenced)
        answer = recommender.recommend(query, selection=Selection(k=60))
        said.append({tag.tag for tag in answer.tags})
    usual, found = said
    assert not usual & rare
    assert found == {*FILLERS, *rare}


def test_a_ranker_learns_from_the_words_of_hashtags(built: Built) -> None:
    """The only post with a picture is asked about too, of an index that has none."""
    assert built.examples
    candidates = built.examples.candidates
    pictured = candidates.scores[:, candidates.columns.index("query: picture")] == 1
    cosines = candidates.scores[:, candidates.columns.index("picture words: cosine")]
    assert pictured.any()
    assert np.isnan(cosines[~pictured]).all()
    offered = built.recommender().index.offered[candidates.tag_ids[pictured]]
    assert np.isfinite(cosines[pictured][offered]).all()


ASK = """
import json, sys
from pathlib import Path
from hashlens.retriever.recommendation import Query
from hashlens.retriever.recommender import Recommender
index, weights, picture = map(Path, sys.argv[1:4])
answer = Recommender.open(index, weights).recommend(Query(image=picture), 5, explain=True)
topics = dict(answer.topics)
print(json.dumps([[name for name in sys.argv[4:] if name in sys.modules], topics]))
"""


def test_a_picture_does_not_wait_for_the_text_tower(built: Built) -> None:
    heavy = [name for name in SLOW if name != "PIL"]
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            ASK,
            str(built.index),
            str(built.weights),
            str(built.asked[3]),
            *heavy,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"HASHLENS_CACHE": str(built.cache), "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    loaded, topics = json.loads(done.stdout)
    assert loaded == []
    expected = built.recommender().recommend(Query(image=built.asked[3]), 5)
    assert topics == pytest.approx(dict(expected.topics), abs=1e-5)


def test_a_text_is_encoded_once() -> None:
    asked: list[list[str]] = []

    def encode(texts: Any) -> np.ndarray:
        asked.append(list(texts))
        vectors = np.array([[len(text), 1] for text in texts], np.float32)
        unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit

    reader = TextReader(encode)
    told: list[int] = []
    progress = type("Told", (), {"advance": lambda _, steps: told.append(steps)})()
    first = reader.vectors(["a", "bb", "a"])
    again = reader.vectors(["bb", "ccc", "a"], progress)
    assert asked == [["a", "bb"], ["ccc"]]
    assert sum(told) == 3
    assert np.array_equal(first[[1, 0]], again[[0, 2]])
    assert again[1] == pytest.approx(np.array([3, 1]) / np.sqrt(10))
    table = TopicTable(("pets-home", "art"), (("catlove",), ("art",)))
    space = WordSpace(("love", "cats", "cat"), np.eye(3, dtype=np.float32), np.zeros(3, np.int64))
    texts = topic_texts(table, space, reader)
    assert "a photo of pets home." in asked[2]
    assert "a photo of cat love." in asked[2]
    assert asked[3] == [template.format("art") for template in TEMPLATES]  # said once, not twice
    mean = encode(asked[3]).mean(axis=0)
    assert texts[1] == pytest.approx(mean / np.linalg.norm(mean))


def test_the_judge_tells_what_texts_alone_can(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = load_topics(built.index.parent / "topics.toml")
    monkeypatch.setattr("hashlens.evaluation.benchmark.topic_accuracy.load_topics", lambda: table)
    encoder = open_encoder(TINY_CLIP, built.weights)
    shown = [("flower", "pets"), *((name, t) for t, name in PICTURES.items()), ("rocket", "food")]
    rocket = {"rocket": built.asked[3]}
    posts = [Post(n, (PHOTOS | rocket)[n], n, topic=topic) for n, topic in shown]
    found = judge_topics(posts[:1], posts[1:], seed=1, encoder=encoder)
    assert found["encoder"] == TINY_CLIP
    # The rocket is called food; the cat, the coffee and the portrait are what they are.
    images, texts = references(built)
    said = (images[:4] @ texts.T).argmax(axis=1)
    assert found["zero_shot"] == float((said == [0, 1, 2, 1]).mean())
    assert found["zero_shot"] >= 0.75
    assert found["head_accuracy"] == 0.25  # no picture taught the head: it says the first topic


def test_an_update_keeps_the_words_and_learning_anew_reads_new_ones(
    built: Built, tmp_path: Path
) -> None:
    index = shutil.copytree(built.index, tmp_path / "index")
    rows = [{"id": f"new{n}", "caption": f"late {n}", "hashtags": ["latecomer"]} for n in range(2)]
    (tmp_path / "posts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    before = built.recommender().index
    assert before.hashtag_texts
    update([tmp_path / "posts.jsonl"], index, weights=built.weights, retrain=False)
    kept = Recommender.open(index, built.weights).index
    assert kept.hashtag_texts
    assert np.array_equal(kept.hashtag_texts.ids, before.hashtag_texts.ids)
    update([], index, weights=built.weights, retrain=True)
    anew = Recommender.open(index, built.weights).index
    assert anew.topics.has_image_model
    assert anew.hashtag_texts
    assert anew.tag_ids(["latecomer"])["latecomer"] in anew.hashtag_texts.ids
