"""Hashtags that the bundled index leaves out."""

from __future__ import annotations

from hashlens.evaluation.assets.unfit_hashtags import dated_keys, truncated_keys


def test_hashtags_that_were_cut_at_a_mark_are_told() -> None:
    whole = [
        "写真好きな人と繋がりたい",
        "スニーカーコーデ",
        "パスタ",
        "空",
        "dog",
        "dogs",
        "はな",
        "ハワイ",
    ]
    cut = ["写真好きな人と繋か", "スニーカーコーテ", "ハ"]
    assert truncated_keys([*whole, *cut]) == set(cut)
    assert truncated_keys(["写真好きな人と繋か", "空"]) == set()


def test_years_are_told_from_other_numbers() -> None:
    over = ["summer2020", "1999", "лето2020", "coachella2017❤", "expo2015milano"]
    lasting = ["summer", "route66", "canon2470mm", "12019", "2100", "1888", "mi6", "10k", "20200"]
    assert dated_keys([*over, *lasting]) == set(over)
