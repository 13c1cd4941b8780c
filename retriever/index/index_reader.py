"""Reads one generation of an index: rows, counts and vectors, opened on first use."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

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
from hashlens.retriever.index.author_prior import AuthorPrior
from hashlens.retriever.index.blocklist import blocked_keys
from hashlens.retriever.index.id_map import IdMap
from hashlens.retriever.index.tiers import tier_floors

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
        self._id_maps: dict[str, IdMap[Any, Any]] = {}

    @classmethod
    def open(cls, index: Path, *, check: bool = False) -> IndexReader:
        """Open the live generation of an index.

        Args:
            index: its folder.
            check: whether to hash every file first and refuse a changed one.

        Raises:
            IndexMissingError, IndexMismatchError, IndexCorruptError: the index cannot be used.
        """
        generation = open_current(index, deep=check)
        check_settings(index, generation.manifest)
        return cls(generation)

    @cached_property
    def store(self) -> Store:
        """The tables of posts, hashtags and words."""
        return Store.open(self.generation.folder / "posts.duckdb")

    @cached_property
    def counts(self) -> Counts:
        """Co-occurrence counts."""
        return Counts.open(self.generation.folder / "counts")

    @property
    def hashtag_count(self) -> int:
        """Number of hashtag ids; each id is below it."""
        return len(self.counts.hashtags)

    @property
    def extends_starter(self) -> bool:
        """Whether its posts were added to counts of other people's posts."""
        return self.counts.size > self.manifest.counts["posts"]

    def names(self, tag_ids: Collection[int]) -> dict[int, tuple[str, str]]:
        """Return key and display form of hashtags."""
        found = self._id_map("hashtag_counts", "tag_id, key, display").lookup(tag_ids)
        return {number: (key, display_of(key, form)) for number, (key, form) in found.items()}

    def tag_ids(self, keys: Sequence[str]) -> dict[str, int]:
        """Return ids of the hashtags that the index knows."""
        return self._id_map("hashtags", "key, tag_id").lookup(keys)

    def word_ids(self, words: Collection[str]) -> dict[str, int]:
        """Return ids of the words that captions of the index contain."""
        return self._id_map("words", "word, word_id").lookup(words)

    def post_ids(self, post_keys: Collection[int]) -> dict[int, str]:
        """Return ids of posts, as their readers gave them, by key."""
        return self._id_map("posts", "post_key, post_id").lookup(post_keys)

    def _id_map(self, table: str, columns: str) -> IdMap[Any, Any]:
        """Return the map of a table from its first column to the others."""
        if table not in self._id_maps:
            number, limit = {
                "words": ("word_id", len(self.counts.words)),
                "posts": ("post_key", len(self.counts.posts)),
            }.get(table, ("tag_id", self.hashtag_count))
            self._id_maps[table] = IdMap(self.store, columns, table, number, limit)
        return self._id_maps[table]

    def known_posts(self, posts: Sequence[Post]) -> list[Post]:
        """Return the posts that the index contains, by content hash.

        Many people post the same short list of hashtags without caption or picture: such a post is
        the same only if its id is, too.
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
    def tag_posts(self) -> Ids:
        """Number of posts by tag id, int64 (tags,); 0 for a hashtag that is not offered.

        A hashtag that a single known author uses is that author's brand: it is not offered to
        others, unless the whole index is one author's. Blocked hashtags are never offered.
        """
        posts, authors, known = self.counts.hashtags.astype(np.int64).T
        brands = (authors == 1) & (known == 1)
        if self.manifest.counts["authors"] == 1:
            brands[:] = False
        posts = np.where(brands, 0, posts)
        posts[self._blocked_ids] = 0
        return posts

    @cached_property
    def _blocked_ids(self) -> list[int]:
        return list(self.tag_ids(sorted(blocked_keys())).values())

    def posts_of(self, tag_ids: Ids) -> Ids:
        """Return the posts of each hashtag, int64 (c,), 0 for one not offered or not known."""
        known = tag_ids < self.hashtag_count
        return np.where(known, self.tag_posts[np.where(known, tag_ids, 0)], 0)

    @cached_property
    def offered(self) -> NDArray[np.bool_]:
        """Whether each hashtag may be recommended, by tag id."""
        return self.tag_posts > 0

    def offered_to(self, prior: AuthorPrior | None) -> NDArray[np.bool_]:
        """Return whether each hashtag may be recommended to an author, own brands included."""
        if prior is None:
            return self.offered
        offered = self.offered.copy()
        offered[prior.tags] = True
        offered[self._blocked_ids] = False
        return offered

    @cached_property
    def tier_floors(self) -> dict[str, float]:
        """Fewest posts of each tier among the offered hashtags."""
        return tier_floors(self.tag_posts[self.offered])

    def most_used(self, most: int) -> Ids:
        """Return the `most` used hashtags that are offered, int64 (n,) ascending."""
        if most not in self._used:
            self._used[most] = np.sort(np.argsort(-self.tag_posts, kind="stable")[:most])
        return self._used[most]

    @cached_property
    def sole_author_prior(self) -> AuthorPrior | None:
        """Hashtags of the only author of the index; None if there are several."""
        authors = self.counts.posts[:, 0]
        owned = np.flatnonzero(authors > 0)
        if not len(owned) or authors[owned].min() != authors[owned].max():
            return None
        return AuthorPrior.of(self.counts, np.intersect1d(owned, self._distinct_posts("true")))

    def prior_of(self, author: str) -> AuthorPrior | None:
        """Return hashtags of an author; None if no post with hashtags is theirs.

        Args:
            author: name as readers gave it; case and a leading @ make no difference.
        """
        condition = "ltrim(lower(trim(author)), '@') = ltrim(lower(trim(?)), '@')"
        return AuthorPrior.of(self.counts, self._distinct_posts(condition, author))

    def _distinct_posts(self, condition: str, *values: str) -> Ids:
        """Return keys of posts, int64 (n,) ascending; one for those that differ only in numbers.

        So forty posts of a daily series count once.
        """
        rows = self.store.rows(
            f"""select min(post_key) from posts where {condition}
            group by {SAID} order by 1""",  # noqa: S608
            values,
        )
        return np.array([key for (key,) in rows], np.int64)

    @cached_property
    def topics(self) -> TopicModel:
        """The topic model of pictures and texts.

        Raises:
            IndexCorruptError: it is invalid, or the manifest or the counts have other topics.
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

    def apply_gate(self, topics: TopicProbs) -> TopicProbs:
        """Return topics as the index was built to use them: `soft`, the likeliest, or none."""
        gate = RankingConfig.from_json(self.manifest.config["ranking"]).gate
        if gate == "hard":
            probs = np.eye(len(topics.topics), dtype=np.float32)[topics.probs.argmax(axis=1)]
        elif gate == "none":
            probs = np.full_like(topics.probs, 1 / len(topics.topics))
        else:
            return topics
        return TopicProbs(topics.topics, probs)

    @cached_property
    def topic_authors(self) -> Floats:
        """Authors of all hashtags of each topic, float32 (topics,)."""
        totals: Floats = self.counts.topics.sum(axis=0).astype(np.float32)
        return totals

    def topic_tops(self, most: int) -> Ids:
        """Return the hashtags among the `most` used of some topic, int64 (n,) ascending."""
        if most not in self._tops:
            order = np.argsort(-np.asarray(self.counts.topics), axis=0, kind="stable")
            self._tops[most] = np.unique(order[:most])
        return self._tops[most]

    @cached_property
    def images(self) -> Segments | None:
        """Picture vectors by post key; None if no post had a picture."""
        return self._open_segments("images")

    @cached_property
    def captions(self) -> Segments | None:
        """Caption vectors by post key; None if no tagged post had a caption."""
        return self._open_segments("captions")

    def _open_segments(self, kind: str) -> Segments | None:
        folder = self.generation.folder / kind
        for path in segment_paths(folder):  # FAISS parses whatever it is given
            self.generation.verified_path(path)
        return _check_ids(Segments.open(folder), len(self.counts.posts), folder)

    def space(self, topic: str) -> WordSpace | None:
        """Return vectors of words and hashtags of a topic or `ALL_TOPICS`; None if not trained."""
        if topic not in self._spaces:
            folder = self.generation.folder / "words" / topic
            self._spaces[topic] = WordSpace.open(folder) if folder.is_dir() else None
        return self._spaces[topic]

    def hashtag_index(self, topic: str) -> Segments | None:
        """Return a topic's hashtag vectors by tag id, new hashtags included; None without any."""
        if topic not in self._hashtags:
            folder = self.generation.folder
            paths = (
                folder / "words" / topic / "hashtags.faiss",
                folder / NEW_HASHTAGS / f"{topic}.faiss",
            )
            existing = [self.generation.verified_path(path) for path in paths if path.exists()]
            parts = list(map(VectorIndex.open, existing))
            found = Segments(parts) if parts else None
            self._hashtags[topic] = _check_ids(found, self.hashtag_count, paths[0])
        return self._hashtags[topic]

    @cached_property
    def hashtag_texts(self) -> VectorIndex | None:
        """The words of hashtags, by tag id, in the space of pictures; None if not encoded."""
        path = self.generation.folder / "texts" / "hashtags.faiss"
        if not path.exists():
            return None
        found = VectorIndex.open(self.generation.verified_path(path))
        return _check_ids(found, self.hashtag_count, path)

    @cached_property
    def tag_vectors(self) -> Floats:
        """Hashtag vectors in `ALL_TOPICS` by tag id, float32 (tags, d); zeros if unknown."""
        found, space = self.hashtag_index(ALL_TOPICS), self.space(ALL_TOPICS)
        vectors = np.zeros((self.hashtag_count, space.dimensions if space else 0), np.float32)
        if found is not None:
            vectors[found.ids] = found.reconstruct(found.ids)
        return vectors

    @cached_property
    def trained(self) -> TrainingCounts:
        """Counts at the time when the index was trained."""
        return TrainingCounts.open(self.generation.folder / "trained")

    @property
    def first_new_hashtag(self) -> int:
        """Hashtags from this id on came after the index was trained."""
        return len(self.trained.tags)

    @cached_property
    def class_tags(self) -> tuple[Ids, Floats]:
        """Hashtags that name ImageNet's classes.

        Their ids, int64 (n,) ascending, and float32 (1000, n): 1 if the hashtag names the class.
        """
        keys = keys_of_classes()
        ids = self.tag_ids(sorted(frozenset().union(*keys)))
        tags = np.array(sorted(ids.values()), np.int64)
        names = np.zeros((len(keys), len(tags)), np.float32)
        for number, some in enumerate(keys):
            names[number, np.searchsorted(tags, [ids[key] for key in some if key in ids])] = 1
        return tags, names

    def token(self, hashtag: str) -> str:
        """Return a hashtag as the vector spaces write it."""
        return VectorConfig.from_json(self.manifest.config["vectors"]).token(hashtag)

    def idf(self, tokens: Collection[str]) -> tuple[dict[str, float], dict[str, float]]:
        """Return inverse document frequencies of the words and `#hashtags` that posts contain.

        Returns:
            By the present counts, and by those that weighed the captions' vectors in training.
        """
        words = self.word_ids(tokens)
        keys = self.tag_ids([token[1:] for token in tokens if token.startswith("#")])
        tags = {f"#{key}": number for key, number in keys.items()}
        posts = {word: int(self.counts.words[i, 0]) for word, i in words.items()}
        posts |= {token: int(self.counts.hashtags[i, 0]) for token, i in tags.items()}
        used = {token: count for token, count in posts.items() if count}
        return idf_weights(used, self.counts.size), self.trained.idf(words, tags)

    @property
    def unseen_idf(self) -> float:
        """Weight of a token that no post contains."""
        return unseen_idf(self.counts.size)

    def text_vectors(
        self, topic: str, texts: Sequence[Sequence[str]], idf: Mapping[str, float]
    ) -> Embeddings:
        """Return vectors of texts in a topic's space; ids are positions in `texts`.

        Args:
            topic: or `ALL_TOPICS`.
            texts: tokens of each.
            idf: of the time when the index was trained.
        """
        space = self.space(topic)
        if space is None:
            return Embeddings(np.zeros(0, np.int64), np.zeros((0, 0), np.float32))
        return text_vectors(space, texts, idf, self.trained.unseen_idf)

    def words_inside(self, hashtags: Sequence[str]) -> tuple[str, ...]:
        """Return the words that hashtags are made of, such as `golden`, `retriever`."""
        return tuple(w for tag in hashtags for w in self._segmenter.segment(tag))

    def sure_words_inside(self, hashtag: str) -> tuple[str, ...]:
        """Return the words of a hashtag if each is a common word or a word of posts; else none.

        A split with any other piece is a guess, such as `glam`, `ping`, and its pieces may not
        become hashtags.
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


def _check_ids(found: Vectors, limit: int, path: Path) -> Vectors:
    """Return vectors whose ids are all below a limit: a forged file of the right hash may lie.

    Raises:
        IndexCorruptError: an id is not.
    """
    if found is not None and not found.within(limit):
        raise IndexCorruptError(
            f"{path}: found vectors of ids that the index does not have; {DAMAGED}"
        )
    return found
