"""Words of other writing are understood: inflected, in a row, and without spaces."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashlens.indexer.config import data_path
from hashlens.indexer.text.hashtags import key, tokens
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.query.batch import prepare
from hashlens.retriever.query.glossary import MAX_MEANINGS, MAX_WORDS, NOT_OFFERED, translate
from hashlens.retriever.recommendation import Query
from tests.support import tiny_index as tiny


def told(caption: str) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(each.said, each.word, each.english) for each in translate(caption)]


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("Гуляли с собакой", "прогулка walk, собака dog"),
        ("по осеннему ЛЕСУ", "осень autumn, лес forest"),
        ("С днём рождения, мамочка!", "день рождения birthday, мамочка mother"),
        ("день за днём", ""),  # a day alone is no birthday
        ("夕焼けの海がきれいだった", "夕焼け sunset, 海 sea, きれい beautiful beauty"),
        ("11月の京都", "京都 kyoto"),  # November holds no moon
        ("月がきれい", "月 moon, きれい beautiful beauty"),
        ("上海のラーメン", "上海 shanghai, ラーメン ramen"),  # nor Shanghai a sea
        ("ｶﾒﾗ", "カメラ camera photography"),  # half-width
        ("スーパーカー", ""),
        ("和朋友在海边看日落", "朋友 friends, 海边 sea, 日落 sunset"),
        ("강아지와 바다에서", "강아지 dog puppy, 바다 sea"),
        ("바다코끼리", ""),  # a walrus, not a sea
        ("walking my dog", ""),
        ("perro y mar", ""),
        ("", ""),
    ],
)
def test_words_are_understood_as_they_stand(caption: str, expected: str) -> None:
    found = [f"{word} {' '.join(english)}" for _, word, english in told(caption)]
    assert found == [each for each in expected.split(", ") if each]


@pytest.fixture
def hurried() -> Iterator[None]:
    """Threads that take turns far more often than they do."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("hurried")
def test_threads_do_not_disturb_one_another() -> None:
    letters = "абвгдежзиклмнопрстуфхцчшщэюя"
    captions = [f"{a}{b}ульчатые {b}{a}онами осеннему" for a in letters for b in letters]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(told, captions))
    assert together == [told(caption) for caption in captions]


def test_a_word_is_told_once_where_it_stands_first() -> None:
    first, second = translate("Море, море и собаки")
    assert (first.said, second.said) == ("море", "собаки")
    assert first.place == 0
    assert second.place == pytest.approx(13 / 19)


def test_each_form_of_the_glossary_is_understood_and_offered_as_a_hashtag() -> None:
    header, *lines = data_path("glossary.tsv").read_text(encoding="utf-8").splitlines()
    assert header.split("\t") == ["en", "ru", "ja", "zh", "ko"]
    english = [line.split("\t")[0] for line in lines]
    assert len(set(english)) == len(english)
    for line in lines:
        meaning, *columns = line.split("\t")
        assert len(columns) == 4
        assert re.fullmatch("[a-z]+( [a-z]+)*", meaning)
        for language, forms in zip(header.split("\t")[1:], columns, strict=True):
            for form in filter(None, forms.split(",")):
                bare = form.removeprefix(NOT_OFFERED)
                assert 1 <= len(bare.split()) <= MAX_WORDS
                # Kana tell Japanese from Chinese.
                found = translate(f"{bare} です" if language == "ja" else bare)
                assert len(found) == 1, (form, found)
                assert key("".join(found[0].word.split())) == "".join(found[0].word.split()).lower()
                assert 1 <= len(found[0].english) <= MAX_MEANINGS


@given(st.text(st.sampled_from("собакйлеёс海边月猫カメラはー강아지와 a1.#️\u0301"), max_size=30))
def test_any_text_is_read(caption: str) -> None:
    for each in translate(caption):
        assert each.english
        assert 0 <= each.place < 1


def test_what_is_understood_is_read_and_spelled(tiny_index: IndexReader) -> None:
    batch = prepare(
        tiny_index, [Query(caption="Гуляли с собакой в парке"), Query(caption="hi")], None
    )
    assert batch.words[0] == (*tokens("гуляли с собакой в парке"), "walk", "dog", "park")
    assert batch.words[1] == ("hi",)
    spelled = tiny.said(tiny_index, batch.spelt.entries, 0, batch.spelt.coined)
    # `walk` is no hashtag of this index, #park one author's, and inflected words are none.
    assert {"dog", "прогулка", "собака", "парк"} <= spelled.keys()
    assert not {"walk", "park", "гуляли", "собакой", "парке"} & spelled.keys()
    assert spelled["собака"][2:] == pytest.approx([1, 0, 9 / 24, 1])
