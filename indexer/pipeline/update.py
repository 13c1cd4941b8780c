"""Posts into the next generation of an index, without reading or learning known ones again.

Removed posts leave the tables and every count. Their vectors stay in segments, which older
generations share, and are skipped until `compact`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from hashlens.indexer.config import BuildConfig
from hashlens.indexer.corpus.context import BuildContext
from hashlens.indexer.corpus.corpus import Corpus
from hashlens.indexer.corpus.ingest import (
    admit_posts,
    drop_notes,
    drop_reposts,
    encode_images,
    ingest_posts,
    no_usable_post,
    summarize_notes,
)
from hashlens.indexer.embeddings.space_training import check_method
from hashlens.indexer.erasure.traces import erase_pictures, traces_in
from hashlens.indexer.errors import InputError, SetupError
from hashlens.indexer.generations.forgotten import Forgotten
from hashlens.indexer.generations.generation import (
    KEEP,
    Generation,
    GenerationWriter,
    all_numbers,
    finish_erasure,
    open_current,
)
from hashlens.indexer.generations.manifest import check_settings
from hashlens.indexer.images.encoder import ImageEncoder, open_encoder, open_recorded
from hashlens.indexer.pipeline.build import encoder_json, text_reader, train_models
from hashlens.indexer.pipeline.diff import PostDiff, diff_posts, read_ids
from hashlens.indexer.pipeline.incremental import write_incremental
from hashlens.indexer.pipeline.ranker_training import FitRanker, RankerTask
from hashlens.indexer.pipeline.ranker_update import RANKED_POSTS, publish_copy, retrain_ranker
from hashlens.indexer.posts.formats.registry import AUTO
from hashlens.indexer.posts.reader import Sources
from hashlens.indexer.posts.spool import Posts
from hashlens.indexer.progress import NullProgress, Progress
from hashlens.indexer.storage.store import BASE_POSTS, Store
from hashlens.indexer.storage.training_snapshot import TrainingCounts
from hashlens.indexer.topics.model import TopicModel
from hashlens.indexer.types import Rejection
from hashlens.indexer.vectors.milvus_generations import (
    check_location,
    renew_location,
    write_generation,
)
from hashlens.indexer.verify.row_checks import check_rows


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """Report of an update: what was done, and what could not be used.

    `generation` is the live one, which is new if anything changed. `moved` counts known posts
    whose picture is elsewhere now, `forgotten` posts that stay out because the index was told to
    forget them, and `copies` those of the added and changed posts that are reposts.
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

    def summary(self) -> str:
        """Return one line on what was done."""
        done = ("added", "changed", "unchanged", "deleted")
        numbers = ", ".join(f"{getattr(self, name):,} {name}" for name in done)
        copies = f" ({self.copies:,} of them reposts)" if self.copies else ""
        more = f", {self.moved:,} with their picture elsewhere" if self.moved else ""
        more += f", {self.forgotten:,} forgotten and left out" if self.forgotten else ""
        return f"generation {self.generation}: {numbers}{copies}{more} in {self.seconds:.0f} s"


@dataclass(frozen=True, slots=True)
class Forgetting:
    """Posts to erase: authors' names in any spelling, and ids of posts."""

    authors: tuple[str, ...]
    post_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class UpdateRequest:
    """Arguments of an update, posts read; `erasing` if files must keep nothing of removed posts."""

    posts: Posts
    deleted: Sequence[str]
    retrain: bool | None
    weights: Path | None
    fit_ranker: FitRanker | None
    rejections: list[Rejection]
    pretrained: Path | None
    context: BuildContext
    erasing: bool = False


@dataclass(frozen=True, slots=True)
class _Outcome:
    """Counts of the generation that was written, and what was done for it."""

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
    """Add posts to an index, replace changed ones, remove deleted ones, and publish the result.

    Posts are identified by id; another content hash marks a new version. Vectors, topic heads and
    ranker stay as they are, and newer hashtags get the mean vector of what they appear with. All
    is trained again on request, or if more than `UpdateConfig.retrain_share` of the posts are new;
    in an index that began as a copy of the bundled one, ranking alone is.

    Args:
        sources: files or folders of posts; may be empty if posts are deleted or all is retrained.
        index: folder of the index.
        delete: a file of post ids (see `diff.read_ids`), or the ids. They win over `sources`.
        retrain: whether to train again; decided by the share of new posts if None.
        keep: generations left, the new one included.
        weights: file of the encoder's weights, if it is not in its usual place.
        reader: name of the sources' reader, or `auto`.
        columns: the sources' names of columns, by ours.
        first_comment: whether hashtags of the author's own first comment count; as in the build
            if None.
        fit_ranker: as in `build`; without it, retraining puts the bundled ranker into the place of
            the index's own.
        progress: told of every stage.
        workers: threads for decoding pictures and training vectors.
        pretrained: word vectors to retrain from, as in `VectorConfig`; the bundled ones if None.
        allow_forgotten: whether forgotten posts come back, and leave the index's list.
        forgetting: whose posts to erase; see `forget`. An erasure that was begun before is
            finished in any case.

    Raises:
        InputError: a source is missing, or there is nothing to do: no usable post, none to delete.
        IndexMissingError, IndexCorruptError, IndexMismatchError: there is no index to add to, or
            its pictures were encoded in another way.
        IndexLockedError: another process writes to this index.
        VectorsUnreachableError: vectors are in Milvus, which does not answer or is not allowed.
    """
    began = time.monotonic()
    live = open_current(index)
    check_settings(index, live.manifest)
    config = _config(live)
    del live  # a generation that is leased is never removed
    if pretrained is not None:
        config = replace(config, vectors=replace(config.vectors, pretrained=str(pretrained)))
    context = BuildContext(config, progress=progress or NullProgress(), workers=workers)
    rejections: list[Rejection] = []
    if first_comment is None:
        first_comment = config.first_comment
    source = Sources(sources, config.hashtag_rule, reader, columns, first_comment)
    posts = ingest_posts(source, rejections, context) if sources else Posts.of(())
    deleted = read_ids(delete) if isinstance(delete, Path) else list(delete or ())
    if not (posts or deleted or retrain or forgetting or Forgotten.of(index).erasing):
        raise no_usable_post(source, rejections)
    given = UpdateRequest(
        posts, deleted, retrain, weights, fit_ranker, rejections, pretrained, context
    )
    with write_generation(index) as new:
        previous = new.previous or open_current(index)
        memory = _start_erasure(index, previous, forgetting)
        given = replace(given, erasing=bool(memory.erasing) and not memory.clean)
        admission = admit_posts(posts, memory, allow_forgotten=allow_forgotten)
        with Store.open(previous.folder / "posts.duckdb") as store:
            check_rows(store, previous.folder / "counts")
            leaving = [*deleted, *_erased_ids(index, store, memory, given)]
            changes = diff_posts(store, admission.posts, leaving)
            ids = frozenset(deleted)
            gone = traces_in(store, lambda post_id, _: post_id in ids) if ids else []
        notes = (*admission.notes, *changes.deletion_notes(admission.posts, deleted))
        after = admission.memory.deleted(deleted, [(each.post_id, each.author) for each in gone])
        if not (changes or retrain or given.erasing):
            outcome = _Outcome(previous.manifest.counts, notes=("nothing new: no generation made",))
            number = previous.number
            if after != memory:
                after.save(index)
            finish_erasure(index, keep=len(all_numbers(index)))
        else:
            outcome, encoder = _write_generation(new, previous, changes, given)
            if changes.moved:
                with Store.change(new.folder / "posts.duckdb") as store:
                    store.move_pictures(changes.moved)
            context.progress.stage("Publishing")
            with _save_forgotten_with(new, memory, after):
                number = new.publish(
                    encoder=previous.manifest.encoder or encoder_json(encoder),
                    topics=previous.manifest.topics,
                    config=config.to_json() if outcome.retrained else previous.manifest.config,
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
        forgotten=admission.out,
        copies=outcome.copies,
        retrained=outcome.retrained,
        counts=outcome.counts,
        rejections=drop_notes(rejections),
        notes=(*notes, *outcome.notes, *summarize_notes(rejections)),
        seconds=time.monotonic() - began,
    )


def _config(generation: Generation) -> BuildConfig:
    return BuildConfig.from_json(generation.manifest.config)


def _start_erasure(index: Path, previous: Generation, forgetting: Forgetting | None) -> Forgotten:
    """Return the list of forgotten posts; a requested erasure is written into its file first."""
    memory = Forgotten.of(index)
    if forgetting is None:
        return memory
    check_location(previous.folder, index, previous.number)  # before anything is promised
    memory = memory.start_erasure(forgetting.authors, forgetting.post_ids)
    memory.save(index)
    return memory


def _erased_ids(index: Path, store: Store, memory: Forgotten, given: UpdateRequest) -> list[str]:
    """Return ids of the posts to erase, and remove their pictures from the user's cache."""
    if not given.erasing:
        return []
    query = "select image from posts union all select image from copies"
    traces = traces_in(store, memory.is_erasing)
    going = [trace.image for trace in traces if trace.image]
    images = Counter(image for (image,) in store.rows(query) if image)
    images.subtract(going)
    erase_pictures(index, memory.is_erasing, {image for image, left in images.items() if left})
    return [trace.post_id for trace in traces]


@contextmanager
def _save_forgotten_with(
    new: GenerationWriter, before: Forgotten, after: Forgotten
) -> Iterator[None]:
    """Make a changed list valid together with the generation that the block publishes."""
    if after == before:
        yield
        return
    after.changed_with(new.number, before).save(new.index)
    yield
    Forgotten.of(new.index).save(new.index)


def _write_generation(
    new: GenerationWriter, previous: Generation, changes: PostDiff, given: UpdateRequest
) -> tuple[_Outcome, ImageEncoder | None]:
    """Write everything of the next generation; return its counts, and the encoder if used."""
    previous.check_vectors()
    if not given.retrain:
        check_location(previous.folder, new.index, new.number)  # before pictures are encoded
    recorded, encoder = previous.manifest.encoder, None
    if any(post.image for post in changes.arriving):
        if recorded is None:
            encoder = open_encoder(_config(previous).encoder, given.weights, verify=True)
        else:
            encoder = open_recorded(recorded, given.weights)
    corpus = drop_reposts(Posts.of(changes.arriving), changes.held)
    corpus = encode_images(corpus, encoder, given.rejections, given.context)
    coming = {post.post_id for post in given.posts} if corpus.copies else set()
    copies = sum(post.post_id in coming for post in corpus.copies)
    trained = TrainingCounts.open(previous.folder / "trained")
    with Store.open(previous.folder / "posts.duckdb") as store:
        query = "select count(*), count(*) filter (post_key >= ?) from posts"
        ((number, later),) = store.rows(query, [trained.first_post])
    later += len(corpus.posts) - int((changes.removed >= trained.first_post).sum())
    share = later / max(number + len(corpus.posts) - len(changes.removed), 1)
    why, notes = _retrain_reason(previous, given, share)
    rest = previous.manifest.counts["posts"] - len(changes.removed) + len(corpus.posts)
    if why and (rest or not given.erasing):  # without posts to learn from, none may stay either
        if encoder is None and recorded is not None:  # it may read topics and hashtags, too
            encoder = open_recorded(recorded, given.weights)
        outcome = _retrain(new, previous, changes, corpus, given, encoder)
        notes = (f"learned anew: {why}", *outcome.notes)
    else:
        progress = given.context.progress
        counts = write_incremental(
            new, previous, changes, corpus, trained, progress, erasing=given.erasing
        )
        outcome = _Outcome(counts)
        if BASE_POSTS in counts:
            outcome = _maybe_retrain_ranker(new, previous, counts, given)
            notes = (*notes, *outcome.notes)
    return replace(outcome, copies=copies, notes=notes), encoder


def _maybe_retrain_ranker(
    new: GenerationWriter, previous: Generation, counts: dict[str, int], given: UpdateRequest
) -> _Outcome:
    """Have ranking learn from posts that joined another index's counts.

    It does so on request, or when there are more posts by a share than it learned from.
    """
    learned = previous.manifest.counts.get(RANKED_POSTS, 0)
    counts |= {RANKED_POSTS: learned}
    share = _config(previous).update.retrain_share
    due = counts["posts"] > learned * (1 + share) if given.retrain is None else given.retrain
    if not due or given.fit_ranker is None:
        return _Outcome(counts)

    with Store.open(new.folder / "posts.duckdb") as store:
        corpus = Corpus.load(new.folder, store)

    def build_part(part: Corpus, place: Path) -> Generation:
        kept = {post.post_id for post in part.posts}
        copy = publish_copy(new.folder, previous.manifest, counts, place / "index")
        gone = [post.post_id for post in corpus.posts if post.post_id not in kept]
        update([], copy, delete=gone, retrain=False)
        return open_current(copy)

    ranking = _config(previous).ranking
    task = RankerTask(corpus, build_part, ranking, given.context.progress)
    counts, notes = retrain_ranker(new.folder, task, counts, given.fit_ranker)
    return _Outcome(counts, notes=notes)


def _retrain_reason(
    previous: Generation, given: UpdateRequest, share: float
) -> tuple[str, tuple[str, ...]]:
    """Return the reason to train everything again, empty if there is none, and notes on that.

    Raises:
        InputError, SetupError: retraining is requested, and impossible.
    """
    limit = _config(previous).update.retrain_share
    if previous.manifest.counts.get(BASE_POSTS, 0):
        return "", ()  # the posts that it was trained on are not there
    asked = given.retrain or (given.retrain is None and share > limit)
    if not asked:
        return "", ()
    try:
        check_method(_config(previous).vectors)
    except SetupError as error:
        if given.retrain:
            raise
        return "", (f"not learned anew: {error}",)
    file = _config(previous).vectors.pretrained
    if file and given.pretrained is None:
        # The index may be a stranger's: its user decides which files are read.
        lacking = (
            f"this index learned from the word vectors in {file}, and an index alone is not "
            f"followed there: to learn anew, name that file with --pretrained"
        )
        if given.retrain:
            raise InputError(lacking)
        return "", (lacking,)
    over = f"{share:.0%} of the posts are new, over {limit:.0%}"
    return "as asked" if given.retrain else over, ()


def _retrain(
    new: GenerationWriter,
    previous: Generation,
    changes: PostDiff,
    corpus: Corpus,
    given: UpdateRequest,
    encoder: ImageEncoder | None,
) -> _Outcome:
    """Train everything again, on the posts of the index and those that arrive."""
    with Store.open(previous.folder / "posts.duckdb") as store:
        held = Corpus.load(previous.folder, store, changes.removed)
        gone = set(changes.copies)
        copies = tuple(post for post in store.copies() if post.post_id not in gone)
    whole = replace(held, copies=copies).concat(corpus)
    if not whole.posts:
        raise InputError("found no post left to learn from; build the index anew from others")
    renew_location(new, previous.folder)
    context = replace(
        given.context,
        topics=TopicModel.open(previous.folder / "topics").table,
        text_reader=text_reader(encoder),
    )
    trained = train_models(new.folder, whole, context, given.fit_ranker)
    return _Outcome(trained.counts, retrained=True, notes=trained.notes)
