"""Asks the product and the baselines about a panel, and scores their answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hashlens.evaluation.usefulness.baselines import answer_baselines, answer_neighbours
from hashlens.evaluation.usefulness.figures import (
    AnsweredTag,
    Answers,
    score_answers,
    score_groups,
    weighted_kappa,
)
from hashlens.evaluation.usefulness.matching import fold_hashtag
from hashlens.evaluation.usefulness.panel import Key, Panel, PanelPost
from hashlens.indexer.errors import InputError, OutputError
from hashlens.indexer.progress import NullProgress, Progress
from hashlens.retriever.recommender import Recommender

FORMAT = 1
PRODUCT = "hashlens"
EVEN = 0.005  # topics that differ less say nothing


def measure_usefulness(
    panel: Panel,
    index: Path,
    *,
    part: str = "all",
    baselines: bool = True,
    sources: Sequence[Path] = (),
    ungraded: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Ask the product, by its default options, and the baselines about a panel.

    Args:
        panel: what is asked, and the grades.
        index: folder of the index that answers.
        part: of the panel, one of `PARTS`.
        baselines: whether baselines stand beside the product.
        sources: files or folders of posts that neighbours learn from; without, they are left out.
        ungraded: file for answers without a grade; replaced if it exists.
        progress: told of the stages.

    Returns:
        JSON values: `format`, `panel`, `index`, `part`, `posts`, `systems` with the figures of
        each by name, `groups` of the product, `learned_from`, `ungraded` pairs, `disagreements`,
        `graded_twice` and `kappa`.

    Raises:
        InputError: the part has no posts, a post cannot be asked, or sources have no posts.
        IndexMissingError, IndexMismatchError, IndexCorruptError: it cannot be answered from.
        OutputError: the file of ungraded answers cannot be written.
    """
    progress = progress or NullProgress()
    posts = panel.part(part)
    if not posts:
        raise InputError(f"{panel.folder}: found no posts in part {part}, expected one or more")
    systems = ask_systems(Recommender.open(index), posts, baselines, sources, progress)
    progress.stage("scores")
    pairs = list_ungraded(posts, systems.values(), panel.grades)
    if ungraded:
        write_ungraded(ungraded, posts, pairs, panel.folder)
    return {
        "format": FORMAT,
        "panel": str(panel.folder),
        "index": str(index),
        "part": part,
        "posts": len(posts),
        "systems": {
            name: score_answers(posts, said, panel.grades) for name, said in systems.items()
        },
        "groups": score_groups(posts, systems[PRODUCT], panel.grades),
        "learned_from": [str(source) for source in sources],
        "ungraded": len(pairs),
        "disagreements": [str(each) for each in panel.disagreements],
        "graded_twice": len(panel.grading_pairs),
        "kappa": weighted_kappa(panel.grading_pairs),
    }


def ask_systems(
    recommender: Recommender,
    posts: Sequence[PanelPost],
    baselines: bool,
    sources: Sequence[Path],
    progress: Progress,
) -> dict[str, Answers]:
    """Return the answers of the product and of the baselines that are wanted, by their name."""
    answers, topics = ask_product(recommender, posts, progress)
    systems: dict[str, Answers] = {PRODUCT: answers}
    if baselines:
        progress.stage("baselines")
        systems |= answer_baselines(posts, recommender.index, topics)
    if baselines and sources:
        progress.stage("neighbours")
        rule = str(recommender.index.manifest.config.get("hashtag_rule", "instagram"))
        systems |= answer_neighbours(posts, sources, rule)
    return systems


def ask_product(
    recommender: Recommender, posts: Sequence[PanelPost], progress: Progress
) -> tuple[Answers, dict[str, str | None]]:
    """Return the product's answers and its likeliest topics, by id of post.

    The topic is None where all are equally likely.

    Raises:
        InputError: the product refuses a post.
    """
    progress.stage("answers", len(posts))
    answers: dict[str, list[AnsweredTag]] = {}
    topics: dict[str, str | None] = {}
    for post in posts:
        try:
            found = recommender.recommend(image=post.image, caption=post.caption, seeds=post.seeds)
        except InputError as error:
            raise InputError(f"post {post.post_id}: {error}") from error
        answers[post.post_id] = [
            AnsweredTag(tag.tag, tag.evidence[0].channel if tag.evidence else "")
            for tag in found.tags
        ]
        chances = [chance for _, chance in found.topics]
        is_even = not chances or max(chances) - min(chances) < EVEN
        topics[post.post_id] = None if is_even else found.topics[0][0]
        progress.advance()
    return answers, topics


def list_ungraded(
    posts: Sequence[PanelPost], systems: Iterable[Answers], grades: Mapping[Key, int]
) -> list[tuple[str, str]]:
    """Return id and hashtag of each answer without a grade, each once, post by post.

    Within a post the order is by a hash, so that it does not tell which system answered.
    """
    found: dict[Key, tuple[str, str]] = {}
    for answers in systems:
        for post_id, tags in answers.items():
            for each in tags:
                key = (post_id, fold_hashtag(each.tag))
                if key not in grades:
                    found.setdefault(key, (post_id, each.tag))
    places = {post.post_id: place for place, post in enumerate(posts)}
    return sorted(
        found.values(),
        key=lambda pair: (places[pair[0]], hashlib.sha256("\n".join(pair).encode()).digest()),
    )


def write_ungraded(
    path: Path, posts: Sequence[PanelPost], pairs: Sequence[tuple[str, str]], folder: Path
) -> None:
    """Write a line for each ungraded answer, with its post and `"grade": null` to be filled in.

    Raises:
        OutputError: the file cannot be written.
    """
    shown: dict[str, dict[str, Any]] = {}  # what a grader sees of a post
    for post in posts:
        image = post.image.relative_to(folder).as_posix() if post.image else ""
        given = {"lang": post.lang, "caption": post.caption, "seeds": post.seeds, "image": image}
        shown[post.post_id] = {name: value for name, value in given.items() if value}
    rows = [{"id": i, "tag": tag, "grade": None, "post": shown[i]} for i, tag in pairs]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    try:
        path.write_text(lines, encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}), expected a file; name another one"
        ) from error
