"""What a caption's words spell: known hashtags and new ones, with every column by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashlens import Recommender
from hashlens.indexer.text.hashtags import key, tokens
from hashlens.retriever.index.default import bundled_index
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.query.glossary import translate
from hashlens.retriever.query.spelling import (
    COLUMNS,
    MAX_NEW_LENGTH,
    MAX_WORDS,
    MIN_JOINED_IDF,
    Spelt,
    spell,
)
from tests.support import tiny_index as tiny

RARELY = MIN_JOINED_IDF + 2  # idf of a telling word
OFTEN = MIN_JOINED_IDF - 2  # idf of one such as `the`


@pytest.fixture(scope="module")
def shipped() -> Recommender:
    return Recommender.open(bundled_index())


def spelt(index: IndexReader, *captions: str, **idf: float) -> Spelt:
    meant = [translate(caption) for caption in captions]
    return spell(index, captions, [tokens(caption) for caption in captions], meant, idf)


def told(index: IndexReader, found: Spelt, query: int = 0) -> dict[str, dict[str, float]]:
    rows = tiny.said(index, found.entries, query, found.coined)
    return {tag: dict(zip(COLUMNS, values, strict=True)) for tag, values in rows.items()}


def displays(found: Spelt) -> dict[str, str]:
    return dict(zip(found.coined, found.displays, strict=True))


def test_known_hashtags_are_spelled_with_their_columns(tiny_index: IndexReader) -> None:
    found = told(tiny_index, spelt(tiny_index, "a dog at home, my dog", dog=1.5, home=4.0))
    dog = {"rarest": 1.5, "commonest": 1.5, "words": 1, "capitals": 0, "place": 1 / 6, "times": 2}
    assert found["dog"] == pytest.approx(dog)
    home = {"rarest": 4, "commonest": 4, "words": 1, "capitals": 0, "place": 3 / 6, "times": 1}
    assert found["home"] == pytest.approx(home)


def test_words_that_no_post_holds_weigh_as_much_as_the_rarest(tiny_index: IndexReader) -> None:
    found = told(tiny_index, spelt(tiny_index, "home"))
    assert found["home"]["rarest"] == pytest.approx(np.log(1 + len(tiny.ROWS)))


def test_words_joined_spell_a_known_hashtag(tiny_index: IndexReader) -> None:
    words = {"sleepy": 2.0, "kitten": 1.0, "kit": 5.0, "ten": 1.0}
    found = told(tiny_index, spelt(tiny_index, "one sleepy kitten", **words))["sleepykitten"]
    assert (found["rarest"], found["commonest"], found["words"]) == (2, 1, 2)
    assert found["place"] == pytest.approx(1 / 3)
    # However common its words are, and be they three without capitals: it is known.
    found = told(tiny_index, spelt(tiny_index, "sleepy kit ten", **words))["sleepykitten"]
    assert (found["rarest"], found["commonest"], found["words"]) == (5, 1, 3)


def test_a_hashtag_spelled_twice_is_said_once_by_its_fewer_words(tiny_index: IndexReader) -> None:
    found = told(tiny_index, spelt(tiny_index, "sleepy kitten sleepykitten"))["sleepykitten"]
    assert found["words"] == 1
    assert found["place"] == pytest.approx(2 / 3)


def test_new_hashtags_are_coined_with_ids_past_the_indexs(tiny_index: IndexReader) -> None:
    found = spelt(tiny_index, "Off to Petersburg", "petersburg again")
    assert found.coined == ("off", "to", "petersburg", "again")
    assert set(told(tiny_index, found, 1)) == {"petersburg", "again"}
    tags = found.entries.ids[found.entries.queries == 1]
    assert tags.tolist() == [tiny_index.hashtag_count + 2, tiny_index.hashtag_count + 3]


def test_one_authors_hashtag_is_spelled_where_its_words_stand(tiny_index: IndexReader) -> None:
    found = spelt(tiny_index, "mybrand")
    assert set(told(tiny_index, found)) == {"mybrand"}
    assert found.coined == ()


def test_two_telling_words_make_one_new_hashtag(tiny_index: IndexReader) -> None:
    found = spelt(tiny_index, "new york", new=RARELY, york=RARELY + 1)
    assert found.coined == ("new", "york", "newyork")
    assert displays(found)["newyork"] == "NewYork"
    both = told(tiny_index, found)["newyork"]
    assert (both["rarest"], both["commonest"], both["words"]) == (RARELY + 1, RARELY, 2)
    assert spelt(tiny_index, "of york", of=OFTEN, york=RARELY).coined == ("of", "york")


@pytest.mark.parametrize(
    ("caption", "made"),
    [
        ("rio de janeiro", False),
        ("in Rio De Janeiro", True),
        ("in Rio de Janeiro", False),
        ("Rio De Janeiro", True),
    ],
)
def test_three_words_need_capitals(tiny_index: IndexReader, caption: str, made: bool) -> None:
    found = spelt(tiny_index, caption, rio=RARELY, de=RARELY, janeiro=RARELY)
    assert ("riodejaneiro" in found.coined) == made
    if made:
        assert displays(found)["riodejaneiro"] == "RioDeJaneiro"


@pytest.mark.parametrize(
    ("caption", "capitals"),
    [
        ("in petersburg", 0),
        ("Petersburg", 1),
        ("so. Petersburg", 1),
        ("so!\nPetersburg", 1),
        ('"Petersburg"', 1),
        ("so: (Petersburg)", 1),
        ("in Petersburg", 2),
        ("in (Petersburg)", 2),
        ("in PETERSBURG", 2),
        ("Petersburg, petersburg, my Petersburg", 2),
        ("petersburg, Petersburg", 2),
    ],
)
def test_capitals_inside_a_sentence_tell_names(
    tiny_index: IndexReader, caption: str, capitals: int
) -> None:
    assert told(tiny_index, spelt(tiny_index, caption))["petersburg"]["capitals"] == capitals


@pytest.mark.parametrize(
    "caption", ["in O'Brien's", "in O’Brien’s", "in oʼbrien's and O'BRIEN'S", "in O'Brien’S"]
)
def test_apostrophes_join_a_word(tiny_index: IndexReader, caption: str) -> None:
    found = spelt(tiny_index, caption)
    assert displays(found)["obrien"] == "obrien"
    assert told(tiny_index, found)["obrien"]["capitals"] == 2
    assert not {"o", "s", "brien", "obriens"} & set(found.coined)


def test_what_is_somebodys_is_spelled_without_that(tiny_index: IndexReader, tmp_path: Path) -> None:
    found = told(tiny_index, spelt(tiny_index, "our dog's new home", dog=1.5))
    dog = {"rarest": 1.5, "commonest": 1.5, "words": 1, "capitals": 0, "place": 1 / 4, "times": 1}
    assert found["dog"] == pytest.approx(dog)
    # Several words keep it, as do hashtags that are used so.
    index = tiny.reader([(who, "x", ["mothersday", "levis"]) for who in ("ann", "bob")], tmp_path)
    assert {"mothersday", "mother"} <= told(index, spelt(index, "Mother's Day")).keys()
    assert {"levis", "levi"} <= told(index, spelt(index, "my levi's")).keys()


@pytest.mark.parametrize(
    ("caption", "made"),
    [("in I\u0307zmir", "izmir"), ("in E\u0301vry", "évry"), ("à Évry", "évry")],
)
def test_capitals_are_known_however_accents_are_written(
    tiny_index: IndexReader, caption: str, made: str
) -> None:
    assert told(tiny_index, spelt(tiny_index, caption))[made]["capitals"] == 2


def test_blocked_hashtags_are_never_coined(tiny_index: IndexReader) -> None:
    found = spelt(tiny_index, "likeforlike ad nice ad", "LikeForLike Ad", ad=RARELY)
    assert not {"likeforlike", "ad"} & set(found.coined)
    assert not {"likeforlike", "ad"} & (
        set(told(tiny_index, found)) | set(told(tiny_index, found, 1))
    )
    assert "nice" in found.coined


def test_neither_numbers_signs_nor_endless_words_are_coined(tiny_index: IndexReader) -> None:
    caption = f"x 2024 🌞 {'y' * MAX_NEW_LENGTH} {'z' * (MAX_NEW_LENGTH + 1)} #\ufe0f\u20e3 route66"
    assert spelt(tiny_index, caption).coined == ("y" * MAX_NEW_LENGTH, "route66")


def test_emoji_and_keycaps_make_no_word_a_hashtag_that_is_none(tiny_index: IndexReader) -> None:
    keycap = "#\u20e3"
    found = spelt(tiny_index, "#\ufe0f\u20e3 love", love=RARELY, **{keycap: RARELY})
    assert found.coined == ("love",)


def test_scripts_without_spaces_give_the_words_that_they_show(tiny_index: IndexReader) -> None:
    # Their tokens are overlapping pairs of characters, most of which are no words.
    weights = dict.fromkeys(tokens("東京タワー"), RARELY) | {"東京": RARELY + 1, "ワー": OFTEN}
    found = spelt(tiny_index, "夜の東京タワー", **weights)
    assert found.coined == ("東京", "タワー")
    columns = told(tiny_index, found)["タワー"]
    expected = {"rarest": RARELY, "commonest": OFTEN, "words": 1, "capitals": 0, "times": 1}
    assert {name: columns[name] for name in expected} == expected
    assert columns["place"] == pytest.approx(4 / 7)
    assert spelt(tiny_index, "วันนี้อากาศดี").coined == ()


def test_a_captions_first_words_alone_are_read(tiny_index: IndexReader) -> None:
    caption = "the " * MAX_WORDS + "petersburg"
    assert set(told(tiny_index, spelt(tiny_index, caption))) == {"the"}


def test_nothing_spells_nothing(tiny_index: IndexReader) -> None:
    found = spelt(tiny_index, "", "...", "🌞")
    assert (len(found.entries), found.coined, found.displays) == (0, (), ())
    assert found.entries.values.shape == (0, len(COLUMNS))


letters = st.text(
    st.sampled_from("aB ’'é\u0301İßΩдЖ日本กำ🌞\u200d\ufe0f\u20e3#1_.\nﬁª"), max_size=20
)


@settings(max_examples=150)
@given(st.lists(st.one_of(letters, st.text(max_size=20)), min_size=1, max_size=3))
def test_any_text_spells_only_hashtags(tiny_index: IndexReader, captions: list[str]) -> None:
    words = [tokens(caption) for caption in captions]
    found = spelt(tiny_index, *captions, **{word: RARELY for text in words for word in text})
    assert [key(tag) for tag in found.coined] == list(found.coined)
    assert [key(shown) for shown in found.displays] == list(found.coined)
    assert len(set(found.coined)) == len(found.coined)
    assert tiny_index.tag_ids(found.coined) == {}
    assert (np.diff(found.entries.keys) > 0).all()
    assert found.entries.ids.max(initial=0) < tiny_index.hashtag_count + max(len(found.coined), 1)
    assert np.isfinite(found.entries.values).all()
    shares = found.entries.values[:, COLUMNS.index("place")]
    assert ((shares >= 0) & (shares < 1)).all()


@pytest.mark.parametrize(
    ("seed", "pieces"),
    [
        ("decarbonization", {"ization", "carbonization"}),
        ("decarbonization2024", {"ization", "ization2024", "carbonization", "2024"}),
        ("deindustrialization", {"ization", "industrialization"}),
        ("glamping", {"ping", "glamping"}),
        ("nowthatchersdead", {"sdead", "thatchersdead", "nowthatcher"}),
        ("reskilling", {"res", "killing"}),
        ("bookstagrammer", {"tagrammer"}),
    ],
)
def test_pieces_of_an_unknown_seed_are_not_offered(
    shipped: Recommender, seed: str, pieces: set[str]
) -> None:
    answer = shipped.recommend(seeds=[seed], k=20)
    assert answer.tags
    assert pieces.isdisjoint(tag.tag for tag in answer.tags)


def test_words_of_an_unknown_seed_spell_known_hashtags(shipped: Recommender) -> None:
    answer = shipped.recommend(seeds=["dogsofcopenhagen"], k=5)
    assert {"dogs", "copenhagen"} <= {tag.tag for tag in answer.tags}
    # A seed coins nothing, alone or with the last word of the caption.
    answer = shipped.recommend(caption="our new plan", seeds=["dogsofcopenhagen"], k=40)
    assert not {"plandogs", "dogscopenhagen"} & {tag.tag for tag in answer.tags}


@pytest.mark.parametrize(
    ("caption", "is_new"),
    [
        ("Fourth Wing at night", True),
        ("the fourth-wing at night", True),
        ("Fourth. Wing at night", False),
        ("Fourth, Wing at night", False),
        ("Fourth 🌞 Wing at night", False),
        ("Fourth 12 Wing at night", False),
        ("Fourth\nWing at night", False),
    ],
)
def test_a_new_hashtag_joins_only_words_side_by_side(
    tiny_index: IndexReader, caption: str, is_new: bool
) -> None:
    found = spelt(tiny_index, caption, fourth=RARELY, wing=RARELY)
    assert ("fourthwing" in found.coined) == is_new
