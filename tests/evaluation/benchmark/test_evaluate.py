"""An index is judged by its answers to posts that it does not hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hashlens.evaluation.benchmark.scoring import evaluate_index
from hashlens.indexer.errors import ConfigError, InputError
from tests.support.reports import timeless


def test_posts_of_the_index_are_refused(sample_folder: Path, sample_index: Path) -> None:
    with pytest.raises(InputError, match="found 191 of 191 posts in the index") as caught:
        evaluate_index(sample_index, [sample_folder], "caption")
    assert "give --allow-seen" in str(caught.value)


def test_an_index_is_judged_by_its_answers(
    sample_folder: Path, sample_index: Path, tmp_path: Path
) -> None:
    lines = (sample_folder / "posts.jsonl").read_text(encoding="utf-8").splitlines()[:60]
    posts = [json.loads(line) | {"author": "someone else", "image": None} for line in lines]
    source = tmp_path / "posts.jsonl"
    source.write_text("\n".join(map(json.dumps, posts)))
    found = evaluate_index(sample_index, [source], "seeds:1,caption", k=3)
    assert found["queries"] + sum(found["left_out"].values()) == 60
    assert found["inputs"] == "caption,seeds:1"
    assert (
        found["metrics"]["P@3"] > found["metrics"]["P@10"] > 0.1
    )  # near copies of posts of the index
    low, high = found["intervals"]["P@5"]
    assert low < found["metrics"]["P@5"] < high
    assert (found["format"], found["failed"], found["answered"]) == (1, 0, 1)
    again = evaluate_index(sample_index, [source], "caption,seeds:1", k=3, seen_allowed=True)
    assert timeless(again) == timeless(found)


@pytest.mark.parametrize(("inputs", "k"), [("caption", 0), ("picture", 5)])
def test_evaluate_refuses_settings(
    inputs: str, k: int, sample_folder: Path, sample_index: Path
) -> None:
    with pytest.raises(ConfigError, match="found"):
        evaluate_index(sample_index, [sample_folder], inputs, k=k)
