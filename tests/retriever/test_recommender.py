"""The recommender on an index of the sample posts, with real vectors, FAISS, DuckDB and weights."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from hashlens.indexer.errors import (
    HashlensError,
    IndexCorruptError,
    IndexMismatchError,
    IndexMissingError,
    InputError,
)
from hashlens.indexer.posts.reader import read_posts
from hashlens.retriever.candidates.channels import POST_CHANNELS
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.index.lookup import similar_hashtags
from hashlens.retriever.recommendation import Query, Recommendation
from hashlens.retriever.recommender import Recommender
from hashlens.retriever.selection.selection import Selection
from tests.support import tiny_index as tiny


@pytest.fixture(scope="module")
def recommender(sample_index: Path) -> Recommender:
    return Recommender.open(sample_index)


@pytest.fixture(scope="module")
def cat(sample_folder: Path) -> Path:
    return next(sample_folder.rglob("cat.png"))


CAPTION = "coffee and breakfast in my favourite cafe"


@pytest.mark.parametrize("given", [c for n in (1, 2, 3) for c in itertools.combinations("ics", n)])
def test_every_combination_of_inputs_is_answered(
    recommender: Recommender, cat: Path, given: tuple[str, ...]
) -> None:
    query = Query(
        image=cat if "i" in given else None,
        caption=CAPTION if "c" in given else "",
        seeds=("coffee",) if "s" in given else (),
    )
    answer = recommender.recommend(query, 5)
    keys = [tag.tag for tag in answer.tags]
    assert len(keys) == len(set(keys)) == 5
    assert "coffee" not in keys or "s" not in given
    scores = [tag.probability for tag in answer.tags]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)
    assert sum(prob for _, prob in answer.topics) == pytest.approx(1, abs=1e-3)
    assert any(tag.evidence for tag in answer.tags)
    assert not any(part.posts for tag in answer.tags for part in tag.evidence)
    told = recommender.recommend(query, 5, explain=True).tags
    assert [tag.tag for tag in told] == keys
    assert [tag.probability for tag in told] == pytest.approx(scores, rel=1e-5)
    assert any(tag.evidence for tag in told)
    for tag in told:
        shares = [evidence.share for evidence in tag.evidence]
        assert shares == sorted(shares, reverse=True)
        # What is below half a per cent is not told.
        assert not shares or sum(shares) == pytest.approx(1, abs=0.1)


def test_answers_without_evidence_have_the_same_hashtags(recommender: Recommender) -> None:
    query = Query(caption=CAPTION, seeds=("sunset",))
    whole, bare = (recommender.recommend(query, evidence=wanted) for wanted in (True, False))
    assert all(tag.evidence for tag in whole.tags)
    assert replace(whole, tags=tuple(replace(tag, evidence=()) for tag in whole.tags)) == bare


def test_the_topic_follows_the_input(recommender: Recommender, cat: Path) -> None:
    assert recommender.recommend(Query(caption=CAPTION)).topics[0][0] == "food"
    assert recommender.recommend(Query(seeds=("catsofinstagram",))).topics[0][0] == "pets"


def test_a_batch_answers_as_its_queries_would_alone(recommender: Recommender, cat: Path) -> None:
    queries = [
        Query(caption=CAPTION),
        Query(seeds=("travel", "sunset")),
        Query(image=cat, caption="nap time"),
        Query(caption="zzzz qqqq"),
    ]
    together = recommender.recommend_many(queries, 5)
    for query, answer in zip(queries, together, strict=True):
        assert isinstance(answer, Recommendation)
        alone = recommender.recommend(query, 5)
        assert [t.tag for t in answer.tags] == [t.tag for t in alone.tags]
        assert [t.probability for t in answer.tags] == pytest.approx(
            [t.probability for t in alone.tags], rel=1e-5
        )


def test_explained_posts_hold_the_hashtag(recommender: Recommender, cat: Path) -> None:
    query = Query(image=cat, caption="my cat asleep in the sun", seeds=("catsofinstagram",))
    answer = recommender.recommend(query, 5, explain=True)
    rows = recommender.index.store.rows(
        """select post_id, key from posts join post_hashtags using (post_key)
        join hashtags using (tag_id)"""
    )
    named = [(post, tag.tag) for tag in answer.tags for e in tag.evidence for post in e.posts]
    assert named
    assert set(named) <= set(rows)


def test_one_authors_brand_is_not_offered(recommender: Recommender) -> None:
    brands = {
        key
        for (key,) in recommender.index.store.rows(
            "select key from hashtag_counts where authors = 1"
        )
    }
    assert brands
    offered = recommender.recommend(Query(caption=CAPTION), 1000).tags
    assert offered
    assert not brands & {tag.tag for tag in offered}


def test_an_unknown_seed_is_told_and_its_words_are_used(recommender: Recommender) -> None:
    answer = recommender.recommend(Query(seeds=("sunsett",)), 5)
    assert any("#sunsett" in note and "#sunset" in note for note in answer.notes)
    joined = recommender.recommend(Query(seeds=("mycoffeetime",)), 10)
    assert "coffee" in {tag.tag for tag in joined.tags}


def test_an_unreadable_picture_fails_alone(recommender: Recommender, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff no picture")
    good, bad = recommender.recommend_many(
        [Query(caption=CAPTION), Query(image=broken, caption="x")]
    )
    assert isinstance(good, Recommendation)
    assert isinstance(bad, HashlensError)
    assert "broken.jpg" in str(bad)
    with pytest.raises(InputError, match=r"broken\.jpg"):
        recommender.recommend(Query(image=broken))


def test_no_index_and_a_damaged_index_are_told_apart(sample_index: Path, tmp_path: Path) -> None:
    with pytest.raises(IndexMissingError, match="hashlens build"):
        Recommender.open(tmp_path / "nothing")
    copy = tmp_path / "copy"
    shutil.copytree(sample_index, copy)
    (store,) = copy.glob("gen-*/posts.duckdb")
    store.write_bytes(store.read_bytes()[:-100])
    with pytest.raises(IndexCorruptError, match=r"posts\.duckdb"):
        Recommender.open(copy)


def test_an_index_of_another_encoder_is_refused(
    sample_index: Path, cat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recommender = Recommender.open(sample_index)
    assert recommender.index.manifest.encoder is not None
    monkeypatch.setitem(recommender.index.manifest.encoder, "weights_sha256", "0" * 64)
    with pytest.raises(IndexMismatchError, match="0" * 64):
        recommender.recommend(Query(image=cat))


def test_nothing_to_go_by_is_refused() -> None:
    with pytest.raises(InputError, match="give a picture, a caption or a seed"):
        Query(caption="   ")


def test_the_index_tells_which_posts_it_holds(sample_index: Path, sample_folder: Path) -> None:
    index = Recommender.open(sample_index).index
    some = list(read_posts([sample_folder], rejections=[]))[:3]
    listed = replace(some[0], image=None, caption="")  # a list of hashtags is many people's
    assert index.known_posts([*some, replace(some[0], content_hash="another"), listed]) == [
        *some,
        listed,
    ]
    assert index.known_posts([replace(listed, post_id="another")]) == []
    assert index.known_posts([replace(some[1], post_id="another")]) != []


def test_hashtags_that_nobody_used_yet_are_answered_as_any_other(recommender: Recommender) -> None:
    query = Query(caption="Off to Petersburg with mycat", seeds=("unheardof",))
    answer = recommender.recommend(query, 1000, explain=True)
    fresh = {tag.tag: tag for tag in answer.tags if tag.tag in ("petersburg", "mycat")}
    assert set(fresh) == {"petersburg", "mycat"}
    assert {tag.display for tag in fresh.values()} == {"petersburg", "mycat"}
    assert {tag.tier for tag in fresh.values()} == {"niche"}
    assert all(0 < tag.probability < 1 for tag in fresh.values())
    assert not any(part.posts for tag in fresh.values() for part in tag.evidence)
    assert "unheardof" not in {tag.tag for tag in answer.tags}


def test_coined_hashtags_keep_to_the_block_list_and_to_pins(recommender: Recommender) -> None:
    query = Query(caption="Off to Petersburg with mycat")
    wanted = Selection(k=1000, blocked=frozenset({"mycat"}), pinned=("petersburg",))
    tags = [tag.tag for tag in recommender.recommend(query, selection=wanted).tags]
    assert "mycat" not in tags
    assert tags[0] == "petersburg"
    assert tags.count("petersburg") == 1


def test_an_index_without_hashtags_has_nothing_to_say(tmp_path: Path) -> None:
    index = tiny.reader([("ann", "walk in town", []), ("bob", "walk", [])], tmp_path)
    answer = Recommender(index).recommend(Query(caption="Off to Petersburg"), explain=True)
    assert answer.tags == ()
    assert answer.notes == ()


def test_channels_that_a_ranker_silences_are_not_asked(recommender: Recommender) -> None:
    def channels(asked: Recommender) -> set[str]:
        tags = asked.recommend(caption=CAPTION, k=20).tags
        return {part.channel for tag in tags for part in tag.evidence}

    assert channels(recommender) & set(POST_CHANNELS)
    without_posts = replace(recommender.ranker, excluded=POST_CHANNELS)
    quiet = channels(Recommender(recommender.index, ranker=without_posts))
    assert quiet
    assert not quiet & set(POST_CHANNELS)


def test_a_blocked_seed_is_named_as_blocked(recommender: Recommender) -> None:
    (note,) = recommender.recommend(caption="a walk", seeds=["ad"]).notes
    assert note == "#ad is blocked: no index learns it, its words were used instead"


def test_many_unknown_seeds_are_one_scan_and_a_few_notes(
    recommender: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans: list[int] = []

    def counted(index: IndexReader, hashtags: Sequence[str]) -> dict[str, tuple[str, ...]]:
        scans.append(len(hashtags))
        return similar_hashtags(index, hashtags)

    monkeypatch.setattr("hashlens.retriever.recommender.similar_hashtags", counted)
    seeds = ["ad", "sunsett", *(f"zq{n}yw" for n in range(5_000))]
    began = time.monotonic()
    notes = recommender.recommend(Query(caption="a walk", seeds=tuple(seeds))).notes
    assert time.monotonic() - began < 20
    assert scans == [3]
    assert len(notes) == 11
    assert notes[0].startswith("#ad is blocked")
    assert notes[1].startswith("no #sunsett in this index")
    assert "did you mean #sunset" in notes[1]
    assert notes[-1] == "4,992 more seeds are not in this index"


def test_answers_in_batches_search_no_similar_seeds(recommender: Recommender) -> None:
    query = Query(caption="a walk", seeds=("sunsett",))
    (answer,) = recommender.recommend_batch([query], Selection())
    assert isinstance(answer, Recommendation)
    assert answer.notes == ("no #sunsett in this index, its words were used instead",)


def test_like_seeds_are_found_for_each_in_one_scan(recommender: Recommender) -> None:
    near = similar_hashtags(recommender.index, ["sunsett", "zzqqxxyy"])
    assert near["sunsett"][0] == "sunset"
    assert near["zzqqxxyy"] == ()
