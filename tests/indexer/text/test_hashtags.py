"""The hashtag grammar, keys and words: cases worked by hand, and properties of any text."""

from __future__ import annotations

import json
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hashlens.indexer.errors import InputError
from hashlens.indexer.text.hashtags import (
    MAX_LENGTH,
    RULES,
    extract,
    is_spaced,
    join_words,
    key,
    parts,
    script_words,
    strip,
    tokens,
)

# text, hashtags by the rule of Instagram, hashtags by the rule of X
CASES: list[tuple[str, list[str], list[str]]] = [
    ("Evening by the lake #sunset, #calm.", ["sunset", "calm"], ["sunset", "calm"]),
    ("#love#travel", ["love", "travel"], []),
    ("sea#view", ["view"], []),
    ("#travel@user", ["travel"], ["travel"]),
    ("#paris🇫🇷 in May", ["paris🇫🇷"], ["paris"]),
    ("#👨‍👩‍👧 #👍🏽", ["👨‍👩‍👧", "👍🏽"], []),
    ("#good❤️day", ["good❤️day"], ["good"]),
    ("#wow‼️ #brand™", ["wow", "brand"], ["wow", "brand"]),
    ("# #1 #2024 #٣٤ #_ #1_000", [], []),
    ("#7am #route66 #_x", ["7am", "route66", "_x"], ["7am", "route66", "_x"]),
    ("#️⃣ #1️⃣", [], []),
    ("＃Ｔｏｋｙｏ ＃東京", ["Ｔｏｋｙｏ", "東京"], ["Ｔｏｋｙｏ", "東京"]),
    ("行った。#京都の旅！", ["京都の旅"], ["京都の旅"]),
    ("朝ごはん#カフェ・ラテ", ["カフェ・ラテ"], []),
    ("#हिन्दी #தமிழ் #ខ្មែរ", ["हिन्दी", "தமிழ்", "ខ្មែរ"], ["हिन्दी", "தமிழ்", "ខ្មែរ"]),
    ("#می\u200cخواهم؟", ["می\u200cخواهم"], ["می\u200cخواهم"]),
    ("#Москва #Київ #Ελλάδα", ["Москва", "Київ", "Ελλάδα"], ["Москва", "Київ", "Ελλάδα"]),
    ("#cafe\u0301s", ["cafe\u0301s"], ["cafe\u0301s"]),
    ("Tom &#x27;s &#39; R&#B", [], []),
    ("#rock-n-roll #don't", ["rock", "don"], ["rock", "don"]),
    ("see https://a.io/p?q=1#part HTTP://A.IO/#b #c", ["c"], ["c"]),
    ("www.shop.example/#sale shop.co.uk/#sale #real", ["real"], ["real"]),
    ("#http://a.io #foohttps://b.io", [], []),
    ("写真 https://a.io/x、#猫", ["猫"], ["猫"]),
    ("##double", ["double"], ["double"]),
    ("#same #same #Same", ["same", "same", "Same"], ["same", "same", "Same"]),
]
SOUP = st.text(
    st.sampled_from(
        "ab1_#＃ \n\t.,&@/:-'’eİıIßﷺ゛～京かー\u0e01\u0e34🇫🇷👍🏽❤\ufe0f\u20e3\u200d\u200c\u0301ʰ"
    )
    | st.characters(exclude_categories=["Cs"]),
    max_size=40,
) | st.lists(
    st.sampled_from(
        ["#a", "b", "＃", "http://", "www.", "x.io/", "#", "🇫", "\u200d", " ", "&", "\n"]
    )
).map("".join)


@pytest.mark.parametrize(("text", "instagram", "x"), CASES)
def test_hashtags_of_a_text(text: str, instagram: list[str], x: list[str]) -> None:
    assert extract(text) == instagram
    assert extract(text, "x") == x


def test_public_conformance_cases(posts_folder: Path) -> None:
    lines = (posts_folder / "hashtag_cases.jsonl").read_text(encoding="utf-8").splitlines()
    cases = [json.loads(line) for line in lines]
    assert len(cases) == 34
    wrong = {c["about"] for c in cases if extract(c["text"], "x") != c["hashtags"]}
    assert wrong == set()


def test_an_unknown_rule_is_refused() -> None:
    for reads in (extract, strip):
        with pytest.raises(InputError, match="'facebook', expected one of instagram, x"):
            reads("no hashtag here", "facebook")


def test_a_hashtag_is_cut_at_its_longest() -> None:
    assert extract("#" + "a" * 151) == ["a" * 150]
    assert extract("#" + "a" * 150) == ["a" * 150]
    assert extract("#" + "1" * 150 + "a") == []  # what is left has digits alone
    assert strip("one #" + "a" * 400 + " two") == "one two"


def test_long_hostile_texts_take_no_time() -> None:
    for piece in ("#", "#1", "a.", "a-", "@", "#a", "\u200d", "www.", "http://"):
        text = piece * 20_000
        assert extract(strip(text)) == []
        assert isinstance(tokens(text), list)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Evening #sunset by the #lake", "Evening by the"),
        ("#one#two", ""),
        ("sea#view now", "sea now"),
        ("Line one\n\n\n\n#a #b\nline   two \r\n #c", "Line one\n\nline two"),
        ("keep # and #1 and https://a.io/#b", "keep # and #1 and https://a.io/#b"),
        ("  plain\ttext  ", "plain text"),
    ],
)
def test_a_caption_without_its_hashtags(text: str, left: str) -> None:
    assert strip(text) == left


@given(SOUP, st.sampled_from(RULES))
@example("#\n#a", "instagram")
@example("#a.b.io/#c", "x")
def test_nothing_is_left_to_take_out(text: str, rule: str) -> None:
    left = strip(text, rule)
    assert extract(left, rule) == []
    assert strip(left, rule) == left


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("#Sunset", "sunset"),
        ("＃Ｔｏｋｙｏ", "tokyo"),
        (" #GoldenRetriever ", "goldenretriever"),
        ("İstanbul", "istanbul"),
        ("i\u0307stanbul", "istanbul"),
        ("ISTANBUL", "istanbul"),
        ("ışık", "ışık"),
        ("Straße", "strasse"),
        ("cafe\u0301", "café"),
        ("ｻｯｶｰ", "サッカー"),
        ("❤️", "❤"),
        ("👍🏽", "👍🏽"),
        ("𝓵𝓸𝓿𝓮", "love"),
        ("ΣΊΣΥΦΟΣ", "σίσυφοσ"),
        ("か゛", "が"),
        ("ﷺ", "صلىاللهعليهوسلم"),
        ("カフェ～", "カフェ〜"),
        ("می\u200cخواهم\u200c", "می\u200cخواهم"),
    ],
)
def test_keys(form: str, expected: str) -> None:
    assert key(form) == expected


@pytest.mark.parametrize(
    "form",
    ["", "  ", "#", "##a", "a b", "a-b", "what?", "2024", "#1️⃣", "_", "\ufe0f", "https://a.io"],
)
def test_what_is_no_hashtag_has_no_key(form: str) -> None:
    with pytest.raises(InputError, match="expected a hashtag"):
        key(form)


@pytest.mark.parametrize(
    ("tag", "joined"),
    [
        ("film photography", "filmphotography"),
        ("rock & roll", "rockroll"),
        ("bat_(animal)", "bat_animal"),
        ("#sea", "sea"),
        ("再 会", "再会"),
        ("1984", None),
        (" ", None),
        ("a" * 200, "a" * MAX_LENGTH),
    ],
)
def test_a_tag_of_words_is_one_hashtag(tag: str, joined: str | None) -> None:
    assert join_words(tag) == joined


@given(st.text())
def test_joined_words_are_a_hashtag(text: str) -> None:
    joined = join_words(text)
    assert joined is None or key(joined)


def test_a_key_is_not_too_long() -> None:
    assert key("a" * 150) == "a" * 150
    with pytest.raises(InputError, match="151 characters"):
        key("a" * 151)
    with pytest.raises(InputError, match="300 characters"):  # each letter unfolds to fifteen
        key("ﷺ" * 20)


@given(SOUP)
def test_a_key_is_its_own_key(text: str) -> None:
    for form in [text, *extract(text), *extract(text, "x")]:
        try:
            found = key(form)
        except InputError:
            continue
        assert key(found) == found
        assert extract(f"#{found}") == [found]


def test_every_character_that_may_stand_in_a_hashtag_may_stand_in_a_key() -> None:
    for code in range(sys.maxunicode + 1):
        form = f"a{chr(code)}b"
        if unicodedata.category(chr(code)) not in ("Cs", "Cn") and extract(f"#{form}") == [form]:
            assert key(key(form)) == key(form)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don’t miss the DOG's day", ["don't", "miss", "the", "dog's", "day"]),
        ("'quoted' rock'n'roll snake_case", ["quoted", "rock'n'roll", "snake", "case"]),
        ("by @user and ＠other: https://a.io/b?c#d www.b.io", ["by", "and"]),
        ("7 days, 24/7, 5th ٣", ["days", "5th"]),
        ("東京タワー 犬", ["東京", "京タ", "タワ", "ワー", "犬"]),
        ("2020年の夏", ["年の", "の夏"]),
        ("ก็ดี", ["ก็ดี"]),  # two characters with their marks
        ("ខ្មែរ", ["ខ្មែ" + "រ"]),
        ("good❤️👍🏽🇫🇷🇩🇪👨‍👩‍👧", ["good", "❤", "👍🏽", "🇫🇷", "🇩🇪", "👨‍👩‍👧"]),
        ("Straße İstanbul ｆｕｌｌ brand™", ["strasse", "istanbul", "full", "brand"]),
        ("می\u200cخواهم हिन्दी 한국어", ["می\u200cخواهم", "हिन्दी", "한국어"]),
        ("... !!! 123", []),
    ],
)
def test_words_of_a_caption(text: str, words: list[str]) -> None:
    assert tokens(text) == words


@given(SOUP)
def test_words_are_folded_once_and_for_all(text: str) -> None:
    for word in tokens(text):
        assert word
        assert not word.isspace()
        assert not word.isdecimal()


def test_parts_of_a_hashtag() -> None:
    assert parts("love_dogs2020❤") == ["love", "dogs", "2020", "❤"]
    assert parts("カフェ・ラテ") == ["カフェ", "ラテ"]
    assert parts("می\u200cخواهم") == ["می\u200cخواهم"]
    assert [is_spaced(word) for word in ("love", "москва", "한국", "東京", "ไทย")] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_lengths_are_of_characters() -> None:
    assert [len(form) for form in extract("#" + "京" * 200)] == [MAX_LENGTH]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("京都の紅葉がきれいでした", ["京都", "紅葉"]),
        ("東京でラーメンを食べた。東京！", ["東京", "ラーメン", "食"]),  # a verb's stem, too
        ("ｶﾌｪでコーヒー", ["カフェ", "コーヒー"]),  # half-width is folded
        ("猫がソファで寝ている", ["猫", "ソファ", "寝"]),
        ("今天天气很好", []),  # six Han characters may be any number of words
        ("a cat, кот, แมว", []),
        ("", []),
    ],
)
def test_words_that_japanese_writing_shows(text: str, words: list[str]) -> None:
    assert script_words(text) == words
