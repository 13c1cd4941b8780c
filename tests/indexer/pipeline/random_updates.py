"""Posts drawn at random that are added, changed and deleted, and an index made of them at once."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hashlens.indexer.config import ALL_TOPICS, BuildConfig, VectorConfig
from hashlens.indexer.corpus.context import BuildContext
from hashlens.indexer.corpus.corpus import predict_topics, write_posts_and_vectors
from hashlens.indexer.corpus.ingest import drop_reposts, ingest_posts
from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.generations.generation import Generation, open_current
from hashlens.indexer.pipeline.build import build
from hashlens.indexer.pipeline.update import UpdateReport, update
from hashlens.indexer.posts.reader import Sources
from hashlens.indexer.progress import NullProgress
from hashlens.indexer.storage.store import Store
from hashlens.indexer.storage.training_snapshot import TrainingCounts
from hashlens.indexer.topics.model import TopicModel

SMALL = BuildConfig(
    encoder="efficientnet-lite0", vectors=VectorConfig("word2vec", 8, min_count=1, epochs=1)
)
WORDS = [f"{a}{b}" for a in ("sun", "moon", "sea", "dog", "tea") for b in ("day", "light", "time")]
TAGS = ["dog", "cat", "food", "travel", "love", *WORDS[:8], "new", "rare", "éclair"]
AUTHORS = ["ann", "bob", "cat", "dan", None, None]
Rows = Sequence[dict[str, Any]]


def drawn(number: int, draw: random.Random) -> dict[str, Any]:
    """A post, now and then one that repeats another's caption word by word."""
    caption = " ".join(draw.choices(WORDS, k=draw.randrange(7)))
    if draw.random() < 0.3:
        caption = draw.choice(
            ("one two three four five six", "all is well that ends here")
        ) + "!" * (number % 3)
    tags = draw.sample(TAGS, draw.randrange(5)) if draw.random() < 0.8 else ["dog"]
    forms = [tag.title() if draw.random() < 0.3 else tag for tag in tags] or ["dog"]
    return {"id": f"p{number}", "caption": caption, "hashtags": forms} | (
        {"author": author} if (author := draw.choice(AUTHORS)) else {}
    )


def written(rows: Rows, folder: Path) -> Path:
    """A folder of posts."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row) for row in rows]
    (folder / "posts.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def built(rows: Rows, place: Path, config: BuildConfig = SMALL) -> Path:
    """An index of posts."""
    build([written(rows, place / "posts")], place / "index", config=config, workers=1)
    return place / "index"


def updated(rows: Rows, index: Path, deleted: Sequence[str] = (), **given: Any) -> UpdateReport:
    """Update an index, without learning anew unless that is said."""
    given = {"retrain": False, "workers": 1} | given
    sources = [written(rows, index.parent / "more")] if rows else []
    return update(sources, index, delete=deleted, **given)


@dataclass
class Life:
    """The posts that an index should hold, in the order in which they came to be as they are."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    def put(self, rows: Rows) -> None:
        for row in rows:
            if self.rows.get(row["id"]) != row:
                self.rows.pop(row["id"], None)
                self.rows[row["id"]] = row

    def delete(self, ids: Sequence[str]) -> None:
        for name in ids:
            self.rows.pop(name, None)


def rebuilt(rows: Rows, like: Path, place: Path) -> Generation:
    """The same posts made into an index at once, with what the other one has learned."""
    other = open_current(like)
    found = ingest_posts(
        Sources([written(rows, place / "posts")], "instagram"), [], BuildContext(SMALL)
    )
    corpus = drop_reposts(found)
    model = TopicModel.open(other.folder / "topics")
    space = WordSpace.open(other.folder / "words" / ALL_TOPICS)
    trained = TrainingCounts.open(other.folder / "trained")
    folder = place / "index"
    folder.mkdir()
    config = BuildConfig.from_json(other.manifest.config)
    topics = predict_topics(corpus, model, config)
    counts = write_posts_and_vectors(folder, corpus, topics, model, space, NullProgress(), trained)
    return Generation(folder, replace(other.manifest, counts=counts))


# Every table without its ids, which depend on the order in which things came.
TABLES = {
    "posts": """select post_id, author, topic, topic_source, caption, image, content_hash, origin,
        picture, signature from posts""",
    "copies": "select * exclude number from copies",
    "post_hashtags": """select post_id, key, form, position from post_hashtags
        join posts using (post_key) join hashtags using (tag_id)""",
    "post_words": """select post_id, word from post_words
        join posts using (post_key) join words using (word_id)""",
    "hashtags": "select key from hashtags",
    "words": "select word from words",
    "hashtag_counts": "select * exclude tag_id from hashtag_counts",
    "hashtag_topics": """select topic, key, posts, authors from hashtag_topics
        join hashtags using (tag_id)""",
    "cooccurrences": """select a.key, b.key, posts, authors from cooccurrences c
        join hashtags a using (tag_id) join hashtags b on b.tag_id = c.other_id""",
    "word_counts": "select * exclude word_id from word_counts",
    "word_hashtags": """select word, key, posts, authors from word_hashtags
        join words using (word_id) join hashtags using (tag_id)""",
}


def tables(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of an index by table, sorted."""
    with Store.open(folder / "posts.duckdb") as store:
        return {name: sorted(store.rows(query), key=repr) for name, query in TABLES.items()}
