"""The reading side of one generation: its rows and vectors, opened when first asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.config import ALL_TOPICS, RankingConfig, VectorConfig
from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.embeddings.text_vectors import idf_weights, text_vectors, unseen_idf
from hashlens.indexer.errors import DAMAGED, IndexCorruptError, unreadable
from hashlens.indexer.generations.generation import Generation, open_current
from hashlens.indexer.generations.manifest import check_settings
from hashlens.indexer.images.imagenet import keys_of_classes
from hashlens.indexer.storage.count_matrices import Counts
from hashlens.indexer.storage.store import SAID, Store
from hashlens.indexer.storage.training_snapshot import NEW_HASHTAGS, TrainingCounts
from hashlens.indexer.text.hashtags import display_of
from hashlens.indexer.text.segmenter import Segmenter, vocabulary_counts
from hashlens.indexer.topics.model import TopicModel
from hashlens.indexer.types import Embeddings, Floats, Ids, Post, TopicProbs
from hashlens.indexer.vectors.index import VectorIndex
from hashlens.indexer.vectors.segments import Segments, segment_paths
from hashlens.retriever.index.author_habits import Habits
from hashlens.retriever.index.blocklist import blocked
from hashlens.retriever.index.id_map import Vocabulary
from hashlens.retriever.index.tiers import tier_floors

MAX_NEAR = 3  # hashtags named for one that the index does not have

Vectors = TypeVar("Vectors", Segments | None, VectorIndex)


class IndexReader:
    """One generation, opened read-only; a later generation does not disturb it."""

    def __init__(self, generation: Generation) -> None:
        self.generation = generation
        self.manifest = generation.manifest
        self._spaces: dict[str, WordSpace | None] = {}
        self._hashtags: dict[str, Segments | None] = {}
        self._tops: dict[int, Ids] = {}
        self._used: dict[int, Ids] = {}

    @classmethod
    def open(cls, index: Path, *, check: bool = False) -> IndexReader:
        """The live generation of the index in folder `index`.

        Args:
            index: its folder.
            check: whether every file is hashed first, so that none is served that was changed.

        Raises:
            IndexMissingError, IndexMismatchError, IndexCorruptError: it cannot be answered from.
        """
        generation = open_current(index, deep=check)
        check_settings(index, generation.manifest)
        return cls(generation)

    @cached_property
    def store(self) -> Store:
        """Rows and counts."""
        return Store.open(self.generation.folder / "posts.duckdb")

    @cached_property
    def counts(self) -> Counts:
        """What stands beside what, and how often."""
        return Counts.open(self.generation.folder / "counts")

    @property
    def tags(self) -> int:
        """Ids of hashtags given so far: each is below."""
        return len(self.counts.hashtags)

    def gated(self, topics: TopicProbs) -> TopicProbs:
        """Topics as this index was built to use them: `soft`, the likeliest alone, or none."""
        gate = self._ranking.gate
        if gate == "hard":
            probs = np.eye(len(topics.topics), dtype=np.float32)[topics.probs.argmax(axis=1)]
        elif gate == "none":
            probs = np.full_like(topics.probs, 1 / len(topics.topics))
        else:
            return topics
        return TopicProbs(topics.topics, probs)

    @cached_property
    def topics(self) -> TopicModel:
        """Topic heads on pictures and on text.

        Raises:
            IndexCorruptError: they cannot be read, or the manifest or the counts have other topics.
        """
        folder = self.generation.folder / "topics"
        model = TopicModel.open(folder)
        names = model.table.names
        if names != self.manifest.topics or self.counts.topics.shape[1] != len(names):
            raise unreadable(folder, "found other topics than the manifest or the counts have")
        return model

    @property
    def topic_names(self) -> tuple[str, ...]:
        """Names of the topics, as the checked table has them."""
        return self.topics.table.names

    @cached_property
    def images(self) -> Segments | None:
        """Picture vectors by post key; None where no post had a picture."""
        return self._posts_vectors("images")

    @cached_property
    def captions(self) -> Segments | None:
        """Caption vectors by post key; None where no tagged post had a caption."""
        return self._posts_vectors("captions")

    def _posts_vectors(self, kind: str) -> Segments | None:
        folder = self.generation.folder / kind
        for path in segment_paths(folder):  # FAISS parses whatever it is given
            self.generation.verified_path(path)
        return _within(Segments.open(folder), len(self.counts.posts), folder)

    def space(self, topic: str) -> WordSpace | None:
        """Vectors of words and hashtags in one topic, or in `ALL_TOPICS`; None if not learned."""
        if topic not in self._spaces:
            folder = self.generation.folder / "words" / topic
            self._spaces[topic] = WordSpace.open(folder) if folder.is_dir() else None
        return self._spaces[topic]

    def hashtags(self, topic: str) -> Segments | None:
        """Hashtag vectors by tag id in one topic's space, learned and young; None without any."""
        if topic not in self._hashtags:
            folder = self.generation.folder
            paths = (
                folder / "words" / topic / "hashtags.faiss",
                folder / NEW_HASHTAGS / f"{topic}.faiss",
            )
            there = [self.generation.verified_path(path) for path in paths if path.exists()]
            parts = list(map(VectorIndex.open, there))
            found = Segments(parts) if parts else None
            self._hashtags[topic] = _within(found, self.tags, paths[0])
        return self._hashtags[topic]

    @cached_property
    def hashtag_texts(self) -> VectorIndex | None:
        """The words of hashtags, by tag id, in the space of pictures; None if not read."""
        path = self.generation.folder / "texts" / "hashtags.faiss"
        if not path.exists():
            return None
        return _within(VectorIndex.open(self.generation.verified_path(path)), self.tags, path)

    @cached_property
    def trained(self) -> TrainingCounts:
        """What was known when the index last learned."""
        return TrainingCounts.open(self.generation.folder / "trained")

    @property
    def first_young(self) -> int:
        """Hashtags from this id on came after the index last learned."""
        return len(self.trained.tags)

    @cached_property
    def habits(self) -> Habits | None:
        """What the person tags whose posts these all are; None where they are several people's."""
        authors = self.counts.posts[:, 0]
        held = np.flatnonzero(authors > 0)
        alone = len(held) > 0 and authors[held].min() == authors[held].max()
        return Habits.of(self.counts, np.intersect1d(held, self._series("true"))) if alone else None

    def habits_of(self, author: str) -> Habits | None:
        """What an author tags; None where no post with hashtags is theirs.

        Args:
            author: name as readers gave it; case and a leading @ make no difference.
        """
        named = "ltrim(lower(trim(author)), '@') = ltrim(lower(trim(?)), '@')"
        return Habits.of(self.counts, self._series(named, author))

    def _series(self, condition: str, *values: str) -> Ids:
        """Keys of posts, int64 (n,) ascending; of those that say the same, numbers aside, one.

        So forty posts of a daily series are one habit.
        """
        rows = self.store.rows(
            f"""select min(post_key) from posts where {condition}
            group by {SAID} order by 1""",  # noqa: S608
            values,
        )
        return np.array([key for (key,) in rows], np.int64)

    @property
    def begun(self) -> bool:
        """Whether its posts joined what others' posts were counted to."""
        return self.counts.size > self.manifest.counts["posts"]

    @cached_property
    def tag_posts(self) -> Ids:
        """Number of posts by tag id, int64 (tags,); 0 for a hashtag that is not offered.

        A hashtag that one known author alone uses is that author's brand: it is not offered to
        others, unless the whole index is one author's. Hashtags on the block list never are.
        """
        posts, authors, known = self.counts.hashtags.astype(np.int64).T
        brands = (authors == 1) & (known == 1)
        if self.manifest.counts["authors"] == 1:
            brands[:] = False
        posts = np.where(brands, 0, posts)
        posts[self._blocked] = 0
        return posts

    @cached_property
    def _blocked(self) -> list[int]:
        """Ids of the hashtags that nobody is offered."""
        return list(self.tag_ids(sorted(blocked())).values())

    def posts_of(self, tag_ids: Ids) -> Ids:
        """Posts of each hashtag, int64 (c,), 0 for one that is not offered or not of the index."""
        known = tag_ids < self.tags
        return np.where(known, self.tag_posts[np.where(known, tag_ids, 0)], 0)

    @cached_property
    def offered(self) -> NDArray[np.bool_]:
        """Whether each hashtag may be recommended, by tag id."""
        return self.tag_posts > 0

    def offered_to(self, habits: Habits | None) -> NDArray[np.bool_]:
        """Whether each hashtag may be recommended to somebody, whose own brands may."""
        if habits is None:
            return self.offered
        offered = self.offered.copy()
        offered[habits.tags] = True
        offered[self._blocked] = False
        return offered

    @cached_property
    def tier_floors(self) -> dict[str, float]:
        """Fewest posts of each tier among the offered hashtags."""
        return tier_floors(self.tag_posts[self.offered])

    def names(self, tag_ids: Collection[int]) -> dict[int, tuple[str, str]]:
        """Key and display form of hashtags."""
        found = self._names.of(tag_ids)
        return {number: (key, display_of(key, form)) for number, (key, form) in found.items()}

    def tag_ids(self, keys: Sequence[str]) -> dict[str, int]:
        """Ids of those hashtags that the index knows."""
        return self._tag_vocabulary.of(keys)

    def word_ids(self, words: Collection[str]) -> dict[str, int]:
        """Ids of those words that captions of the index hold."""
        return self._word_vocabulary.of(words)

    @cached_property
    def _names(self) -> Vocabulary[int, tuple[str, str]]:
        columns = "tag_id, key, display"
        return Vocabulary(self.store, columns, "hashtag_counts", "tag_id", self.tags)

    @cached_property
    def _tag_vocabulary(self) -> Vocabulary[str, int]:
        return Vocabulary(self.store, "key, tag_id", "hashtags", "tag_id", self.tags)

    @cached_property
    def _word_vocabulary(self) -> Vocabulary[str, int]:
        words = len(self.counts.words)
        return Vocabulary(self.store, "word, word_id", "words", "word_id", words)

    def post_ids(self, post_keys: Collection[int]) -> dict[int, str]:
        """Ids of posts, as their readers gave them, by key."""
        return self._post_ids.of(post_keys)

    @cached_property
    def _post_ids(self) -> Vocabulary[int, str]:
        posts = len(self.counts.posts)
        return Vocabulary(self.store, "post_key, post_id", "posts", "post_key", posts)

    def holds(self, posts: Sequence[Post]) -> list[Post]:
        """Those of the posts that the index has, by content hash.

        A short list of hashtags without a caption or picture is many people's: such a post is
        the same only where its id is, too.
        """
        if not posts:
            return []
        found = self.store.arrays(
            """select distinct place from asked join (
                select post_id, content_hash from posts union all
                select post_id, content_hash from copies) as held using (content_hash)
            where asked.telling or held.post_id = asked.post_id order by place""",
            asked={
                "place": list(range(len(posts))),
                "post_id": [post.post_id for post in posts],
                "content_hash": [post.content_hash for post in posts],
                "telling": [bool(post.image or post.caption) for post in posts],
            },
        )
        return [posts[place] for place in found["place"].tolist()]

    @cached_property
    def topic_authors(self) -> Floats:
        """Authors of all hashtags of each topic, float32 (topics,)."""
        totals: Floats = self.counts.topics.sum(axis=0).astype(np.float32)
        return totals

    def topic_tops(self, most: int) -> Ids:
        """Hashtags that are among the `most` used of some topic, int64 (n,) ascending."""
        if most not in self._tops:
            order = np.argsort(-np.asarray(self.counts.topics), axis=0, kind="stable")
            self._tops[most] = np.unique(order[:most])
        return self._tops[most]

    def most_used(self, most: int) -> Ids:
        """The `most` used hashtags that are offered, int64 (n,) ascending."""
        if most not in self._used:
            self._used[most] = np.sort(np.argsort(-self.tag_posts, kind="stable")[:most])
        return self._used[most]

    @cached_property
    def tag_vectors(self) -> Floats:
        """Hashtag vectors in the space of all topics by tag id, float32 (tags, d); else zeros."""
        found, space = self.hashtags(ALL_TOPICS), self.space(ALL_TOPICS)
        vectors = np.zeros((self.tags, space.dimensions if space else 0), np.float32)
        if found is None:
            return vectors
        vectors[found.ids] = found.reconstruct(found.ids)
        return vectors

    @cached_property
    def class_tags(self) -> tuple[Ids, Floats]:
        """Hashtags that ImageNet's classes are called.

        Their ids, int64 (n,) ascending, and float32 (1000, n): 1 where a class is called so.
        """
        keys = keys_of_classes()
        ids = self.tag_ids(sorted(frozenset().union(*keys)))
        tags = np.array(sorted(ids.values()), np.int64)
        called = np.zeros((len(keys), len(tags)), np.float32)
        for number, some in enumerate(keys):
            called[number, np.searchsorted(tags, [ids[key] for key in some if key in ids])] = 1
        return tags, called

    @cached_property
    def _ranking(self) -> RankingConfig:
        return RankingConfig.from_json(self.manifest.config["ranking"])

    @cached_property
    def _vector_config(self) -> VectorConfig:
        return VectorConfig.from_json(self.manifest.config["vectors"])

    def token(self, hashtag: str) -> str:
        """A hashtag as the vector spaces write it."""
        return self._vector_config.token(hashtag)

    def idf(self, tokens: Collection[str]) -> tuple[dict[str, float], dict[str, float]]:
        """Inverse document frequency of those words and `#hashtags` that posts hold.

        Returns:
            By today's counts; and by those that weighed captions' vectors, when the index learned.
        """
        words = self.word_ids(tokens)
        keys = self.tag_ids([token[1:] for token in tokens if token.startswith("#")])
        tags = {f"#{key}": number for key, number in keys.items()}
        posts = {word: int(self.counts.words[i, 0]) for word, i in words.items()}
        posts |= {token: int(self.counts.hashtags[i, 0]) for token, i in tags.items()}
        held = {token: count for token, count in posts.items() if count}
        today = idf_weights(held, self.counts.size)
        return today, self.trained.idf(words, tags)

    def text_vectors(
        self, topic: str, texts: Sequence[Sequence[str]], idf: Mapping[str, float]
    ) -> Embeddings:
        """Vectors of tokens of texts in a topic's space; ids are positions in `texts`.

        Args:
            topic: or `ALL_TOPICS`.
            texts: tokens of each.
            idf: of the time when the index learned.
        """
        space = self.space(topic)
        if space is None:
            return Embeddings(np.zeros(0, np.int64), np.zeros((0, 0), np.float32))
        return text_vectors(space, texts, idf, self.trained.unseen_idf)

    @property
    def unseen_idf(self) -> float:
        """Weight of a token that no post holds."""
        return unseen_idf(self.counts.size)

    def words_inside(self, hashtags: Sequence[str]) -> tuple[str, ...]:
        """The words that hashtags are made of, such as `golden`, `retriever`."""
        return tuple(w for tag in hashtags for w in self._segmenter.segment(tag))

    def sure_words_inside(self, hashtag: str) -> tuple[str, ...]:
        """The words that a hashtag is made of, if each is a common word or a word of posts.

        A cut with any other piece is a guess, such as `glam`, `ping`: its pieces are no words of
        anyone's, so they may not become hashtags. There are none then.
        """
        words = self.words_inside([hashtag])
        known = self.word_ids(words)
        is_sure = all(word in known or self._segmenter.is_common(word) for word in words)
        return words if is_sure else ()

    @cached_property
    def _segmenter(self) -> Segmenter:
        space = self.space(ALL_TOPICS)
        ranked = [w for w in space.words if not w.startswith("#")] if space else []
        return Segmenter(vocabulary_counts(self.trained.word_posts, ranked))

    def near_keys(self, hashtags: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Offered hashtags written nearly alike, best first: for "did you mean".

        One scan of all hashtags serves all that are given. It costs time for each, so give few.
        """
        rows = self.store.rows(
            """select given, tag_id, key from (
                select given, tag_id, key, posts, damerau_levenshtein(key, given) as edits
                from hashtag_counts, (select unnest(?::varchar[]) as given)
                where abs(length(key) - length(given)) <= 2)
            where edits <= 2
            qualify row_number() over (partition by given order by edits, posts desc, key) <= ?
            order by given, edits, posts desc, key""",
            [list(hashtags), 4 * MAX_NEAR],
        )
        near: dict[str, list[str]] = {hashtag: [] for hashtag in hashtags}
        for given, tag, name in rows:
            if self.offered[tag]:
                near[given].append(name)
        return {given: tuple(names[:MAX_NEAR]) for given, names in near.items()}


def _within(found: Vectors, limit: int, path: Path) -> Vectors:
    """Vectors, once it is sure that their ids are rows: a forged file of the right hash may lie."""
    if found is not None and not found.within(limit):
        raise IndexCorruptError(
            f"{path}: found vectors of ids that the index does not have; {DAMAGED}"
        )
    return found
