"""The counts of an index as sparse rows, for answering: derived from the store, like its tables.

What a row keeps is bounded: a word or hashtag that stands beside very many others keeps the
commonest of them, so that the cost of a query does not grow with the index.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.arrays.sparse import Matrix, open_npy
from hashlens.indexer.errors import IndexCorruptError, unreadable
from hashlens.indexer.storage.store import Store
from hashlens.indexer.types import Floats, Ids

BESIDE_WORD = 300  # hashtags kept beside a word, by authors
BESIDE_TAG = 1_000  # hashtags kept beside a hashtag, by authors
OF_TAG = 20_000  # posts kept of a hashtag or word: an even sample of those that hold it
INSIDE = 100  # hashtags kept that hold a word inside them, by authors
EASE_TAGS = 3_000  # the most used hashtags, whose linear model is solved: its cost is their cube
EASE_POSTS = 5  # posts a hashtag needs to be among them
EASE_PENALTY = 100.0  # Steck's lambda
EASE_KEPT = 300  # weights kept of each

Segment = Callable[[str], Sequence[str]]


def write_counts(
    store: Store, segment: Segment, topics: Sequence[str], folder: Path, linear: int | None = None
) -> None:
    """Write every matrix and column into a new folder.

    Args:
        store: with its derived tables.
        segment: cuts a hashtag's key into words.
        topics: names, in the order of the topic model.
        folder: to be made; `Counts` says what is in it.
        linear: weights kept of each hashtag in the linear model; `EASE_KEPT` where None.
    """
    folder.mkdir()
    tags, words, posts = (store.next_id(kind) for kind in ("hashtag", "word", "post"))
    uses = store.arrays("select tag_id as id, posts, authors, known_authors from hashtag_counts")
    _save_columns(folder / "hashtags", uses, ("posts", "authors", "known_authors"), tags)
    found = store.arrays("select word_id as id, posts, authors from word_counts")
    _save_columns(folder / "words", found, ("posts", "authors"), words)
    _save_columns(
        folder / "posts",
        store.arrays(_POSTS.format(voice=store.voice[0])),
        ("author", "words"),
        posts,
    )
    names = dict(store.rows("select tag_id, key from hashtags"))
    shapes = [(len(names.get(tag, "")), names.get(tag, "").isascii()) for tag in range(tags)]
    totals = store.totals()
    np.save(folder / "totals.npy", np.array(totals, np.int64))
    np.save(folder / "shapes.npy", np.array(shapes, np.int32).reshape(tags, 2))
    np.save(folder / "topics.npy", _by_topic(store, topics, tags))
    found = store.arrays("select post_key, tag_id from post_hashtags order by post_key, position")
    post_tags = Matrix.of(found["post_key"], found["tag_id"], _none(found), posts)
    post_tags.save(folder / "post_tags")
    np.save(folder / "norms.npy", _norms(post_tags, uses, tags, totals[0]))
    _transpose_sampled(post_tags, tags).save(folder / "tag_posts")
    found = store.arrays(
        """select post_key, word_id from post_words semi join post_hashtags using (post_key)
        order by post_key"""
    )
    post_words = Matrix.of(found["post_key"], found["word_id"], _none(found), posts)
    _transpose_sampled(post_words, words).save(folder / "word_posts")
    _pair_matrix(store, "cooccurrences", "tag_id", "other_id", BESIDE_TAG, tags).save(
        folder / "tag_tags"
    )
    _pair_matrix(store, "word_hashtags", "word_id", "tag_id", BESIDE_WORD, words).save(
        folder / "word_tags"
    )
    _part_matrix(store, segment, words).save(folder / "word_inside")
    _ease_matrix(store, tags, EASE_KEPT if linear is None else linear).save(folder / "ease")


# Of each column file: a matrix with as many rows, the dtype, and what follows the rows.
_COLUMNS: dict[str, tuple[str, type[np.generic], tuple[int, ...]]] = {
    "hashtags": ("tag_posts", np.int32, (3,)),
    "words": ("word_posts", np.int32, (2,)),
    "shapes": ("tag_posts", np.int32, (2,)),
    "posts": ("post_tags", np.int32, (2,)),
    "norms": ("post_tags", np.float32, ()),
    "topics": ("tag_posts", np.int32, ()),
}
_OF = {"tag_posts": "posts", "word_posts": "posts"}  # columns are hashtags elsewhere
MATRICES = ("post_tags", "tag_posts", "word_posts", "tag_tags", "word_tags", "word_inside", "ease")


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """What `write_counts` wrote, mapped into memory. Rows are keys of the store; zeros elsewhere.

    `hashtags` int32 (tags, 3): posts, authors, and those of them who are known; `words` int32
    (words, 2): posts and authors. `shapes` int32 (tags, 2): characters of the key, and 1 where all
    are ASCII. `posts` int32 (posts, 2): author's number, words of the caption. `norms` float32
    (posts,): length by the hashtags' idf. `topics` int32 (tags, topics): authors. `post_tags`,
    `tag_posts`, `word_posts` have no values; `tag_tags`, `word_tags`: authors and posts of the
    pair; `word_inside`: 1 / the hashtag's number of different words; `ease`: weight. `size` and
    `authors` are the numbers of posts and of authors that were counted; keys of posts that were
    removed, and of posts that another index counted, have rows of zeros or none.
    """

    hashtags: NDArray[np.int32]
    words: NDArray[np.int32]
    shapes: NDArray[np.int32]
    posts: NDArray[np.int32]
    norms: Floats
    topics: NDArray[np.int32]
    post_tags: Matrix
    tag_posts: Matrix
    word_posts: Matrix
    tag_tags: Matrix
    word_tags: Matrix
    word_inside: Matrix
    ease: Matrix
    size: int
    authors: int

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The counts in a folder.

        Raises:
            IndexCorruptError: a file is missing or not of its form.
        """
        widths = {of: len(open_npy(folder / f"{of}.npy")) for of in ("hashtags", "posts")}
        matrices: dict[str, Any] = {
            name: Matrix.open(folder / name, widths[_OF.get(name, "hashtags")]) for name in MATRICES
        }
        arrays: dict[str, Any] = {}
        for name, (rows, dtype, width) in _COLUMNS.items():
            array = open_npy(folder / f"{name}.npy")
            fits = array.shape[1:] == width or (name == "topics" and array.ndim == 2)
            if array.dtype != dtype or array.shape[:1] != (len(matrices[rows]),) or not fits:
                raise IndexCorruptError(
                    f"{folder / name}.npy: found {array.dtype} {array.shape}, expected "
                    f"{np.dtype(dtype)} ({len(matrices[rows])}, ...); build the index again"
                )
            arrays[name] = array
        totals = open_npy(folder / "totals.npy")
        if totals.dtype != np.int64 or totals.shape != (2,):
            raise IndexCorruptError(
                f"{folder / 'totals.npy'}: found {totals.dtype} {totals.shape}, expected int64 "
                "(2,); build the index again"
            )
        return cls(
            **arrays,
            **matrices,
            size=int(totals[0]),
            authors=int(totals[1]),
        )


_POSTS = """
    select post_key as id, dense_rank() over (order by {voice}) as author,
           coalesce(words, 0) as words
    from posts left join (select post_key, count(*) as words from post_words group by all)
    using (post_key)"""


def _norms(post_tags: Matrix, uses: dict[str, Any], tags: int, size: int) -> Floats:
    """Length of each of `size` posts as a vector of its hashtags' idf weights, float32 (keys,)."""
    weights = np.zeros(tags)
    weights[uses["id"]] = np.log1p(size / uses["posts"]) ** 2
    posts = np.repeat(np.arange(len(post_tags)), np.diff(post_tags.starts))
    squares = np.bincount(posts, weights[post_tags.columns], minlength=len(post_tags))
    return np.sqrt(squares).astype(np.float32)


def _by_topic(store: Store, topics: Sequence[str], tags: int) -> NDArray[np.int32]:
    """Return the authors of each hashtag in each topic, int32 (tags, topics).

    Raises:
        IndexCorruptError: the store has other topics.
    """
    places = {topic: place for place, topic in enumerate(topics)}
    for (topic,) in store.rows(
        "select topic from hashtag_topics union select topic from posts where topic is not null"
    ):
        if topic not in places:
            raise unreadable(
                store.path, f"found the topic {str(topic)[:100]!r}, expected one of the index's"
            )
    found = store.arrays("select topic, tag_id, authors from hashtag_topics")
    authors = np.zeros((tags, len(topics)), np.int32)
    authors[found["tag_id"], [places[topic] for topic in found["topic"]]] = found["authors"]
    return authors


def _none(found: dict[str, Any]) -> Floats:
    return np.zeros((len(next(iter(found.values()))), 0), np.float32)


def _save_columns(path: Path, found: dict[str, Any], names: tuple[str, ...], size: int) -> None:
    columns = np.zeros((size, len(names)), np.int32)
    for place, name in enumerate(names):
        columns[found["id"], place] = found[name]
    np.save(path.with_suffix(".npy"), columns)


def _transpose_sampled(held: Matrix, size: int) -> Matrix:
    """The rows that hold each of `size` columns; each n-th of more than `OF_TAG`."""
    from scipy import sparse

    if len(held.columns) and not 0 <= held.columns.min() <= held.columns.max() < size:
        raise ValueError(f"found a column beyond {size}")  # SciPy would write outside its arrays
    kept = np.ones(len(held.columns), np.bool_)
    turned = sparse.csr_matrix((kept, held.columns, held.starts), (len(held), size)).tocsc()
    starts = turned.indptr
    for long in np.flatnonzero(np.diff(starts) > OF_TAG).tolist():
        span = slice(starts[long], starts[long + 1])
        length = span.stop - span.start
        kept[span] = np.arange(length) % -(-length // OF_TAG) == 0
    columns = turned.indices[kept].astype(np.int32)
    return Matrix(_starts(kept, starts), columns, np.zeros((len(columns), 0), np.float32))


def _starts(kept: NDArray[np.bool_], starts: NDArray[np.integer[Any]]) -> Ids:
    """Starts of rows of which some entries are kept, int64."""
    before = np.concatenate([[0], np.cumsum(kept)])
    found: Ids = before[starts].astype(np.int64)
    return found


def _pair_matrix(store: Store, table: str, row: str, column: str, kept: int, size: int) -> Matrix:
    """Authors and posts of the pairs of a table, the most of each row; of equal ones the first."""
    found = store.arrays(
        f"""select {row}::integer as "row", {column}::integer as "column",
            authors::integer as authors, posts::integer as posts from {table}"""  # noqa: S608
    )
    # A few runs, each in order, which a stable sort only joins.
    order = np.argsort(found["row"].astype(np.int64) << 32 | found["column"], kind="stable")
    columns, authors, posts = (found[name][order] for name in ("column", "authors", "posts"))
    starts = np.concatenate([[0], np.cumsum(np.bincount(found["row"], minlength=size))])
    chosen = np.ones(len(posts), np.bool_)
    for long in np.flatnonzero(np.diff(starts) > kept).tolist():
        span = slice(starts[long], starts[long + 1])
        uses = authors[span].astype(np.int64) << 32 | posts[span]
        edge = np.partition(uses, -kept)[-kept]
        chosen[span] = uses > edge
        equal = np.flatnonzero(uses == edge) + span.start
        chosen[equal[: kept - np.count_nonzero(chosen[span])]] = True
    values = np.empty((np.count_nonzero(chosen), 2), np.float32)
    values[:, 0], values[:, 1] = authors[chosen], posts[chosen]
    return Matrix(_starts(chosen, starts), columns[chosen], values)


def _part_matrix(store: Store, segment: Segment, size: int) -> Matrix:
    """Hashtags by the words inside them: value 1 / number of the hashtag's different words.

    A hashtag is cut once, and its words are kept in the store.
    """
    lacking = store.rows(
        "select tag_id, key from hashtag_counts anti join hashtag_parts using (tag_id) "
        "where authors > 1 order by tag_id"
    )
    store.add_parts({tag: segment(key) for tag, key in lacking})
    found = store.arrays(
        f"""with cut as (
            select tag_id, list_distinct(words) as parts,
                   row_number() over (order by authors desc, tag_id) as place
            from hashtag_parts join hashtag_counts using (tag_id)
            where authors > 1 and len(words) > 1),
        pairs as (
            select tag_id, place, unnest(parts) as word, 1 / len(parts) as share from cut)
        select word_id, tag_id, share::float as share from pairs join words using (word)
        qualify row_number() over (partition by word_id order by place) <= {INSIDE}
        order by word_id, place"""  # noqa: S608
    )
    values = found["share"].astype(np.float32)[:, None]
    return Matrix.of(
        found["word_id"].astype(np.int64), found["tag_id"].astype(np.int64), values, size
    )


def _ease_matrix(store: Store, size: int, kept: int) -> Matrix:
    """A linear autoencoder's weights from hashtag to hashtag, the largest of each row.

    Steck, "Embarrassingly shallow autoencoders for sparse data" (2019), in closed form. What it
    needs of the posts is how many hold each pair: those counts are the Gram matrix.
    """
    from scipy import linalg

    most = store.arrays(
        f"""select tag_id, posts from hashtag_counts where posts >= {EASE_POSTS}
        order by posts desc, tag_id limit {EASE_TAGS}"""  # noqa: S608
    )
    top = most["tag_id"].astype(np.int64)
    if len(top) < 2:
        return Matrix.of(*(np.zeros(0, np.int64),) * 2, np.zeros((0, 1), np.float32), size)
    among = store.arrays(
        """select a.place as row_place, b.place as column_place, c.posts from cooccurrences c
        join top a on c.tag_id = a.tag_id join top b on c.other_id = b.tag_id""",
        top={"tag_id": top, "place": np.arange(len(top))},
    )
    gram = np.diag(most["posts"].astype(np.float64))
    gram[among["row_place"], among["column_place"]] = among["posts"]
    gram[np.diag_indices_from(gram)] += EASE_PENALTY
    inverse = linalg.inv(gram, overwrite_a=True, check_finite=False)
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, -np.inf)  # never beside itself
    kept = min(kept, len(top) - 1)
    columns = np.sort(np.argpartition(-weights, kept, axis=1)[:, :kept], axis=1)
    values = np.take_along_axis(weights, columns, axis=1).astype(np.float32)
    return Matrix.of(np.repeat(top, kept), top[columns.ravel()], values.reshape(-1, 1), size)
