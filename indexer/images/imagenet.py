"""Names of ImageNet's classes: official ones, and everyday words (`data/classes.tsv`)."""

from __future__ import annotations

from functools import cache

from hashlens.indexer.config import data_path
from hashlens.indexer.text.hashtags import tokens

EMPTY = frozenset({"and", "des", "for", "of", "or", "the"})  # ignored words of names


@cache
def class_names() -> tuple[tuple[str, ...], ...]:
    """Return the words of the name of each class."""
    return tuple(
        tuple(word for word in tokens(name) if word not in EMPTY) for name in class_titles()
    )


@cache
def words_of_classes() -> tuple[tuple[str, ...], ...]:
    """Return all words of each class, each once."""
    named = zip(class_names(), _plain_words(), strict=True)
    return tuple(tuple(dict.fromkeys(name + plain)) for name, plain in named)


@cache
def keys_of_classes() -> tuple[frozenset[str], ...]:
    """Return the hashtags of each class: its whole name, and the everyday words."""
    named = zip(class_names(), _plain_words(), strict=True)
    return tuple(frozenset({"".join(name), *plain}) for name, plain in named)


@cache
def _plain_words() -> tuple[tuple[str, ...], ...]:
    """Return everyday words for each class, the most specific first; often none."""
    numbers: dict[str, list[int]] = {}
    for number, name in enumerate(class_titles()):
        numbers.setdefault(name, []).append(number)
    words_of: list[dict[str, None]] = [{} for _ in class_titles()]  # ordered
    for line in data_path("classes.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        words, classes = line.split("\t")
        for part in classes.split(", "):
            first, _, last = part.partition(" .. ")
            some = range(numbers[first][0], numbers[last][0] + 1) if last else numbers[first]
            for number in some:
                words_of[number] |= dict.fromkeys(words.split())
    return tuple(map(tuple, words_of))


@cache
def class_titles() -> list[str]:
    """Return the names of the 1,000 classes in their order, as OpenCLIP has them.

    torchvision's leave `crane` and `kelpie` ambiguous.
    """
    return data_path("imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
