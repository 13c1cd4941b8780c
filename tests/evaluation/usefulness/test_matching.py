"""Which spellings are one hashtag."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashlens.evaluation.usefulness.matching import fold_hashtag

ALIKE = [
    ("#Café", "cafe"),
    ("golden_hour", "GoldenHour"),
    ("ｃａｔ", "cat"),
    ("cats", "cat"),
    ("churches", "church"),
    ("cookies", "cookie"),
    ("ponies", "pony"),
    ("boxes", "box"),
    ("İstanbul", "istanbul"),
    ("ısparta", "isparta"),
    ("straße", "strasse"),
    ("łódź", "lodz"),
    ("ёлка", "елка"),
    ("أكل", "اكل"),
    ("مَطْعَم", "مطعم"),
    ("καφές", "καφες"),
]
DIFFERENT = [
    ("が", "か"),  # a voiced kana is another letter
    ("мой", "мои"),
    ("हिंदी", "हद"),  # vowel signs are letters
    ("ไทย่", "ไทย"),
    ("news", "new"),
    ("glass", "gla"),
    ("bus", "bu"),
    ("paris", "pari"),
    ("한국", "하국"),
    ("cat", "car"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_case_accents_underscores_and_plural_do_not_matter(one: str, other: str) -> None:
    assert fold_hashtag(one) == fold_hashtag(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_other_letters_and_words_stay_apart(one: str, other: str) -> None:
    assert fold_hashtag(one) != fold_hashtag(other)


def test_hangul_and_devanagari_come_back_composed() -> None:
    assert fold_hashtag("한국") == "한국"
    assert fold_hashtag("हिंदी") == "हिंदी"


@given(st.text(alphabet="aeiou_sxchy#é", min_size=1, max_size=12))
def test_case_never_matters(tag: str) -> None:
    assert fold_hashtag(tag.upper()) == fold_hashtag(tag)
