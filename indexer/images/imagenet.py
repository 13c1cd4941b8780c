"""What ImageNet's classes are called: by their names, and by people (`data/classes.tsv`)."""

from __future__ import annotations

from functools import cache

from hashlens.indexer.config import data_path
from hashlens.indexer.text.hashtags import tokens

EMPTY = frozenset({"and", "des", "for", "of", "or", "the"})  # words of names that say nothing


@cache
def class_names() -> tuple[tuple[str, ...], ...]:
    """The words of the name of each class."""
    return tuple(tuple(word for word in tokens(name) if word not in EMPTY) for name in _names())


@cache
def words_of_classes() -> tuple[tuple[str, ...], ...]:
    """All words that tell of each class, each once."""
    named = zip(class_names(), _plain_words(), strict=True)
    return tuple(tuple(dict.fromkeys(name + plain)) for name, plain in named)


@cache
def keys_of_classes() -> tuple[frozenset[str], ...]:
    """The hashtags that each class is called: its whole name, and the plain words."""
    named = zip(class_names(), _plain_words(), strict=True)
    return tuple(frozenset({"".join(name), *plain}) for name, plain in named)


@cache
def _plain_words() -> tuple[tuple[str, ...], ...]:
    """The words that people have for what each class is, the most telling first; often none."""
    numbers: dict[str, list[int]] = {}
    for number, name in enumerate(_names()):
        numbers.setdefault(name, []).append(number)
    said: list[dict[str, None]] = [{} for _ in _names()]  # ordered
    for line in data_path("classes.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        words, classes = line.split("\t")
        for part in classes.split(", "):
            first, _, last = part.partition(" .. ")
            some = range(numbers[first][0], numbers[last][0] + 1) if last else numbers[first]
            for number in some:
                said[number] |= dict.fromkeys(words.split())
    return tuple(map(tuple, said))


@cache
def _names() -> list[str]:
    # A query without a picture never waits for it.
    from hashlens.indexer.images.open_clip import imagenet_names

    return imagenet_names()
