"""Posts into the next generation of an index: what is there already is not read or learned again.

Rows of removed posts leave the tables, and every count over them; vectors of removed posts stay in
their segments, which are shared with older generations, and are passed over until `compact`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hashlens.indexer.config import BuildConfig
from hashlens.indexer.corpus.corpus import Corpus
from hashlens.indexer.corpus.ingest import (
    admitted,
    encoded,
    gathered,
    summed_up,
    without_notes,
    without_reposts,
)
from hashlens.indexer.corpus.stored import joined, stored_corpus
from hashlens.indexer.erasure.traces import erase_pictures, traces_in
from hashlens.indexer.errors import InputError
from hashlens.indexer.generations.forgotten import Forgotten
from hashlens.indexer.generations.generation import (
    KEEP,
    Generation,
    GenerationWriter,
    all_numbers,
    finish_erasure,
    open_current,
    writer,
)
from hashlens.indexer.generations.manifest import check_settings
from hashlens.indexer.images.encoder import ImageEncoder, open_encoder, open_recorded
from hashlens.indexer.pipeline.build import encoder_json, learned_anew, text_reader
from hashlens.indexer.pipeline.diff import Changes, find_changes, read_ids
from hashlens.indexer.pipeline.incremental import extended
from hashlens.indexer.pipeline.ranker_training import FitRanker, RankerTask
from hashlens.indexer.pipeline.ranker_update import RANKED, publish_copy, retrain_ranker
from hashlens.indexer.posts.formats.registry import AUTO
from hashlens.indexer.posts.reader import Sources
from hashlens.indexer.posts.spool import Posts
from hashlens.indexer.progress import Progress, Silent
from hashlens.indexer.storage.store import BORROWED, Store
from hashlens.indexer.storage.training_snapshot import Trained
from hashlens.indexer.text.escaping import counted
from hashlens.indexer.topics.model import TopicModel
from hashlens.indexer.types import Post, Rejection
from hashlens.indexer.vectors.milvus_cleanup import tidied
from hashlens.indexer.vectors.milvus_location import Place
from hashlens.indexer.verify.rows import check_rows


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """What an update did, and what it could not use.

    `generation` is the live one: a new one where anything changed. `moved` are known posts whose
    picture lies elsewhere now, `forgotten` those that stay out, as the index was told to forget
    them. `copies` are those of the added and changed posts that repeat another post, which is kept
    once.
    """

    generation: int
    added: int
    changed: int
    unchanged: int
    deleted: int
    not_found: tuple[str, ...]
    moved: int
    forgotten: int
    copies: int
    retrained: bool
    counts: dict[str, int]
    rejections: tuple[Rejection, ...]
    notes: tuple[str, ...]
    seconds: float


def described(report: UpdateReport) -> str:
    """One line on what an update did."""
    done = {
        "added": report.added,
        "changed": report.changed,
        "unchanged": report.unchanged,
        "deleted": report.deleted,
    }
    numbers = ", ".join(f"{number:,} {name}" for name, number in done.items())
    copies = f" ({report.copies:,} of them reposts)" if report.copies else ""
    more = f", {report.moved:,} with their picture elsewhere" if report.moved else ""
    more += f", {report.forgotten:,} forgotten and left out" if report.forgotten else ""
    return f"generation {report.generation}: {numbers}{copies}{more} in {report.seconds:.0f} s"


@dataclass(frozen=True, slots=True)
class Forgetting:
    """Whose posts are to be erased: authors' names in any spelling, and ids of posts."""

    authors: tuple[str, ...]
    post_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Incoming:
    """What an update was given, and its settings."""

    posts: Sequence[Post]
    deleted: Sequence[str]
    retrain: bool | None
    weights: Path | None
    fit_ranker: FitRanker | None
    progress: Progress
    workers: int
    rejections: list[Rejection]
    pretrained: Path | None = None
    erasing: bool = False


@dataclass(frozen=True, slots=True)
class _Outcome:
    counts: dict[str, int]
    copies: int = 0
    retrained: bool = False
    notes: tuple[str, ...] = ()


def update(
    sources: Sequence[Path],
    index: Path,
    *,
    delete: Path | Sequence[str] | None = None,
    retrain: bool | None = None,
    keep: int = KEEP,
    weights: Path | None = None,
    reader: str = AUTO,
    columns: Mapping[str, str] | None = None,
    first_comment: bool | None = None,
    fit_ranker: FitRanker | None = None,
    progress: Progress | None = None,
    workers: int = 2,
    pretrained: Path | None = None,
    allow_forgotten: bool = False,
    forgetting: Forgetting | None = None,
) -> UpdateReport:
    """Add posts to an index, replace those that changed, remove those to be deleted; publish it.

    Posts are told apart by id, and old versions from new ones by content hash. Vectors, topic heads
    and ranker stay as they were learned; hashtags that came later get the mean vector of what
    they appear with. What is learned is learned anew where that is asked for, or where more than
    `UpdateConfig.retrain_share` of the posts came since; in an index that began from another's
    aggregates that is ranking alone.

    Args:
        sources: files or folders of posts; may be empty where posts are deleted or all is
            learned anew.
        index: folder of the index.
        delete: a file of post ids (see `changes.read_ids`), or the ids. They win over `sources`.
        retrain: whether to learn anew; by the share of new posts where None.
        keep: generations left, the new one among them.
        weights: file of the encoder's weights, where they are not in their usual place.
        reader: name of the sources' reader, or `auto`.
        columns: the sources' names of columns, by ours.
        first_comment: whether hashtags of the author's own first comment count; as the index was
            built where None.
        fit_ranker: as in `build`; needed where the index has its own ranker and learns anew, else
            the one that ships takes its place.
        progress: told of every stage.
        workers: threads for decoding pictures and training vectors.
        pretrained: word vectors to start from, as in `VectorConfig`, where all is learned anew;
            the ones that ship where None.
        allow_forgotten: whether posts come back that the index was told to forget or delete; its
            list of those loses them then.
        forgetting: whose posts are erased; see `forget`. An erasure that was begun before is
            finished without that.

    Raises:
        InputError: a source is missing, or there is nothing to do: no usable post, none to delete.
        IndexMissingError, IndexCorruptError, IndexMismatchError: there is no index to add to, or
            its pictures were encoded otherwise than they would be here.
        IndexLockedError: another process writes to this index.
        VectorsUnreachableError: vectors are in Milvus, and it does not answer or may not be asked.
    """
    began = time.monotonic()
    progress, rejections = progress or Silent(), list[Rejection]()
    config = _checked_config(index)
    if first_comment is None:
        first_comment = config.first_comment
    source = Sources(sources, config.hashtag_rule, reader, columns, first_comment)
    posts: Sequence[Post] = gathered(source, rejections, progress) if sources else ()
    deleted = read_ids(delete) if isinstance(delete, Path) else list(delete or ())
    if not (posts or deleted or retrain or forgetting or Forgotten.of(index).erasing):
        why = f"; the first of {len(rejections)} rejected: {rejections[0]}" if rejections else ""
        raise InputError(f"found no usable post in {source}{why}")
    given = _Incoming(
        posts, deleted, retrain, weights, fit_ranker, progress, workers, rejections, pretrained
    )
    with tidied(index), writer(index) as new:
        previous = new.previous or open_current(index)
        memory = _begun(index, previous, forgetting)
        given = replace(given, erasing=bool(memory.erasing) and not memory.clean)
        posts, told = admitted(posts, memory, allow_forgotten=allow_forgotten)
        with Store.open(previous.folder / "posts.duckdb") as store:
            check_rows(store, previous.folder / "counts")
            leaving = [*deleted, *_erased(index, store, memory, given)]
            changes = find_changes(store, posts, leaving)
            ids = frozenset(deleted)
            gone = traces_in(store, lambda post_id, _: post_id in ids) if ids else []
        notes = (*told.notes, *_told(changes, posts, deleted))
        after = told.memory.deleted(deleted, [(each.post_id, each.author) for each in gone])
        if not (changes or retrain or given.erasing):
            outcome = _Outcome(previous.manifest.counts, notes=("nothing new: no generation made",))
            number = previous.number
            _save(index, memory, after)
            finish_erasure(index, keep=len(all_numbers(index)))
        else:
            outcome, encoder = _written(new, previous, changes, given)
            if changes.moved:
                with Store.change(new.folder / "posts.duckdb") as store:
                    store.move_pictures(changes.moved)
            progress.stage("Publishing")
            with _remembered(new, memory, after):
                number = new.publish(
                    encoder=previous.manifest.encoder or encoder_json(encoder),
                    topics=previous.manifest.topics,
                    config=_learning(previous, given).to_json()
                    if outcome.retrained
                    else previous.manifest.config,
                    counts=outcome.counts,
                    keep=keep,
                    erased=given.erasing,
                ).number
    return UpdateReport(
        generation=number,
        added=changes.added,
        changed=changes.changed,
        unchanged=changes.unchanged,
        deleted=changes.deleted,
        not_found=changes.not_found,
        moved=len(changes.moved),
        forgotten=told.out,
        copies=outcome.copies,
        retrained=outcome.retrained,
        counts=outcome.counts,
        rejections=without_notes(rejections),
        notes=(*notes, *outcome.notes, *summed_up(rejections)),
        seconds=time.monotonic() - began,
    )


def _begun(index: Path, previous: Generation, forgetting: Forgetting | None) -> Forgotten:
    """The list of what is forgotten; an erasure that is asked for is written down in it first."""
    memory = Forgotten.of(index)
    if forgetting is None:
        return memory
    if place := Place.of(previous.folder):
        place.continued(index, previous.number)  # refused before anything is promised
    memory = memory.begun(forgetting.authors, forgetting.post_ids)
    memory.save(index)
    return memory


def _erased(index: Path, store: Store, memory: Forgotten, given: _Incoming) -> list[str]:
    """Ids of the posts that an erasure is of; their pictures leave the user's cache."""
    if not given.erasing:
        return []
    query = "select image from posts union all select image from copies"
    traces = traces_in(store, memory.is_erasing)
    going = [trace.image for trace in traces if trace.image]
    images = Counter(image for (image,) in store.rows(query) if image)
    images.subtract(going)
    erase_pictures(index, memory.is_erasing, {image for image, left in images.items() if left})
    return [trace.post_id for trace in traces]


def _save(index: Path, before: Forgotten, after: Forgotten) -> None:
    if after != before:
        after.save(index)


@contextmanager
def _remembered(new: GenerationWriter, before: Forgotten, after: Forgotten) -> Iterator[None]:
    """Have the list changed together with the generation that is published inside."""
    if after == before:
        yield
        return
    after.changed_with(new.number, before).save(new.index)
    yield
    Forgotten.of(new.index).save(new.index)


def _config(generation: Generation) -> BuildConfig:
    return BuildConfig.from_json(generation.manifest.config)


def _checked_config(index: Path) -> BuildConfig:
    """The settings of the live generation; it is not held, for a held one is never removed."""
    generation = open_current(index)
    check_settings(index, generation.manifest)
    return _config(generation)


def _learning(generation: Generation, given: _Incoming) -> BuildConfig:
    """The settings by which all is learned anew."""
    config = _config(generation)
    if given.pretrained is None:
        return config
    return replace(config, vectors=replace(config.vectors, pretrained=str(given.pretrained)))


def _told(changes: Changes, posts: Sequence[Post], deleted: Sequence[str]) -> tuple[str, ...]:
    """What a person should know of ids that were to be deleted."""
    notes = []
    if changes.not_found:
        first = ", ".join(map(repr, changes.not_found[:3]))
        number, are = (
            counted(len(changes.not_found), "ids"),
            "is" if len(changes.not_found) == 1 else "are",
        )
        notes.append(f"{number} to delete {are} not in the index: {first}")
    both = {post.post_id for post in posts} & set(deleted)
    if both:
        number, were = counted(len(both), "posts"), "was" if len(both) == 1 else "were"
        notes.append(f"{number} {were} given and to be deleted: not in the index now")
    return tuple(notes)


def _written(
    new: GenerationWriter, previous: Generation, changes: Changes, given: _Incoming
) -> tuple[_Outcome, ImageEncoder | None]:
    """Write everything of the next generation."""
    previous.check_vectors()
    if (place := Place.of(previous.folder)) and not given.retrain:
        place.continued(new.index, new.number)  # refused before pictures are encoded
    encoder = _encoder(previous, changes, given.weights)
    corpus = without_reposts(Posts.of(changes.arriving), changes.held)
    corpus = encoded(corpus, encoder, given.rejections, given.progress, given.workers)
    coming = {post.post_id for post in given.posts}
    copies = sum(post.post_id in coming for post in corpus.copies)
    trained = Trained.open(previous.folder / "trained")
    why, notes = _why_anew(previous, given, _new_share(previous, trained, changes, corpus))
    rest = previous.manifest.counts["posts"] - len(changes.removed) + len(corpus.posts)
    if why and (rest or not given.erasing):  # nothing to learn from is no reason to keep posts
        recorded = previous.manifest.encoder
        if encoder is None and recorded is not None:  # it may read topics and hashtags, too
            encoder = open_recorded(recorded, given.weights)
        outcome = _retrained(new, previous, changes, corpus, given, encoder)
        notes = (f"learned anew: {why}", *outcome.notes)
    else:
        counts = extended(
            new, previous, changes, corpus, trained, given.progress, erasing=given.erasing
        )
        outcome = _Outcome(counts)
        if BORROWED in outcome.counts:
            outcome = _update_ranker(new, previous, outcome.counts, given)
            notes = (*notes, *outcome.notes)
    return replace(outcome, copies=copies, notes=notes), encoder


def _update_ranker(
    new: GenerationWriter, previous: Generation, counts: dict[str, int], given: _Incoming
) -> _Outcome:
    """Train the ranker of an index that began from another's aggregates, if that is due.

    It is due when asked for, or when the posts outnumber those it learned from by a share.
    """
    learned = previous.manifest.counts.get(RANKED, 0)
    counts |= {RANKED: learned}
    share = _config(previous).update.retrain_share
    due = counts["posts"] > learned * (1 + share) if given.retrain is None else given.retrain
    if not due or given.fit_ranker is None:
        return _Outcome(counts)
    with Store.open(new.folder / "posts.duckdb") as store:
        corpus = stored_corpus(new.folder, store, np.zeros(0, np.int64))

    def build_part(part: Corpus, place: Path) -> Generation:
        kept = {post.post_id for post in part.posts}
        copy = publish_copy(new.folder, previous.manifest, counts, place / "index")
        gone = [post.post_id for post in corpus.posts if post.post_id not in kept]
        update([], copy, delete=gone, retrain=False)
        return open_current(copy)

    task = RankerTask(corpus, build_part, _config(previous).ranking, given.progress)
    counts, notes = retrain_ranker(new.folder, task, counts, given.fit_ranker)
    return _Outcome(counts, notes=notes)


def _why_anew(previous: Generation, given: _Incoming, share: float) -> tuple[str, tuple[str, ...]]:
    """Why everything is learned anew, empty where it is not; and what is to be known of that.

    Raises:
        InputError: it is asked for, and cannot be.
    """
    limit = _config(previous).update.retrain_share
    if previous.manifest.counts.get(BORROWED, 0):
        return "", ()  # what it learned with is not there
    asked = given.retrain or (given.retrain is None and share > limit)
    file = _config(previous).vectors.pretrained
    if asked and file and given.pretrained is None:
        # The index may be a stranger's: which files are read is for its user to say.
        lacking = (
            f"this index learned from the word vectors in {file}, and an index alone is not "
            f"followed there: to learn anew, name that file with --pretrained"
        )
        if given.retrain:
            raise InputError(lacking)
        return "", (lacking,)
    if not asked:
        return "", ()
    over = f"{share:.0%} of the posts are new, over {limit:.0%}"
    return "as asked" if given.retrain else over, ()


def _encoder(previous: Generation, changes: Changes, weights: Path | None) -> ImageEncoder | None:
    """The index's own encoder, where a picture has to be encoded."""
    if not any(post.image for post in changes.arriving):
        return None
    if previous.manifest.encoder is None:
        return open_encoder(_config(previous).encoder, weights, verify=True)
    return open_recorded(previous.manifest.encoder, weights)


def _new_share(previous: Generation, trained: Trained, changes: Changes, corpus: Corpus) -> float:
    """Share of the posts that came since the index last learned."""
    with Store.open(previous.folder / "posts.duckdb") as store:
        query = "select count(*), count(*) filter (post_key >= ?) from posts"
        ((posts, later),) = store.rows(query, [trained.first_post])
    later -= int((changes.removed >= trained.first_post).sum())
    posts += len(corpus.posts) - len(changes.removed)
    return float((later + len(corpus.posts)) / max(posts, 1))


def _retrained(
    new: GenerationWriter,
    previous: Generation,
    changes: Changes,
    corpus: Corpus,
    given: _Incoming,
    encoder: ImageEncoder | None,
) -> _Outcome:
    """Learn everything anew, from what the index holds and what arrives."""
    with Store.open(previous.folder / "posts.duckdb") as store:
        held = stored_corpus(previous.folder, store, changes.removed)
        gone = set(changes.copies)
        copies = tuple(post for post in store.copies() if post.post_id not in gone)
    whole = joined(replace(held, copies=copies), corpus)
    if not whole.posts:
        raise InputError("found no post left to learn from; build the index anew from others")
    if place := Place.of(previous.folder):
        place.renewed(new.index, new.number).save(new.folder)
    made = learned_anew(
        new.folder,
        whole,
        TopicModel.open(previous.folder / "topics").table,
        _learning(previous, given),
        given.fit_ranker,
        given.progress,
        given.workers,
        text_reader(encoder),
    )
    return _Outcome(made.counts, retrained=True, notes=made.notes)
