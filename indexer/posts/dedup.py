"""Marks near-duplicates: posts with the same content, of which an index keeps the first.

A repost has the words of another post and its set of hashtags; case, punctuation, mentions, links
and numbers make no difference. Many people independently write the same few words, so below five
words the picture must be the same, byte for byte. A list of hashtags alone is no repost. A row
without an id is a copy of a row with all the same content.

Numbers distinguish posts of one author: "Day 4 of my challenge" and "Day 5 of my challenge" are two
posts of a series. Posts without an author count as one author's. Another author's post with the
same words is a repost, even with other numbers.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence

from hashlens.indexer.text.authors import fold_author
from hashlens.indexer.types import Post

FEWEST_WORDS = 5  # of a post that is recognised without its picture
SIGNATURE = 32  # digits of a signature, the beginning of a mark
_NUMBER_DIGITS = 16  # digits of the hash of numbers
_NUMBER = re.compile(r"\d+")
_JSON = json.JSONEncoder(ensure_ascii=False)


def is_nameless(post: Post) -> bool:
    """Whether a post had no id, so that its id is a hash of its content."""
    return post.post_id.startswith(f"sha256-{post.content_hash[:16]}")


def signature(post: Post, words: Sequence[str]) -> str | None:
    """Return the 32 hexadecimal digits that a post shares with its reposts, or None.

    Args:
        post: a post.
        words: `hashtags.tokens` of its caption.
    """
    if len(words) >= FEWEST_WORDS:
        picture = None
    elif post.picture:
        picture = post.picture
    else:
        return post.content_hash[:SIGNATURE] if is_nameless(post) else None
    return _digest([list(words), sorted(post.hashtags), picture])


def mark(post: Post, words: Sequence[str]) -> str | None:
    """Return the signature of a post; numbers in its caption add a hyphen and their hash."""
    found = signature(post, words)
    numbers = _NUMBER.findall(post.caption) if found else []
    return f"{found}-{_digest(numbers)[:_NUMBER_DIGITS]}" if numbers else found


def _digest(content: object) -> str:
    return hashlib.sha256(_JSON.encode(content).encode("utf-8")).hexdigest()[:SIGNATURE]


Marked = tuple[str | None, str | None]  # a post's mark, and its author


def first_of_each(
    posts: Sequence[Marked], held: Iterable[Marked] = ()
) -> tuple[list[int], list[int]]:
    """Return the places of the posts to keep, and of the reposts, each ascending.

    Args:
        posts: marks and authors of n posts, in order.
        held: marks and authors of earlier posts.
    """
    seen: dict[str, dict[str | None, set[str]]] = {}  # marks by author, by signature

    def is_repost(found: Marked) -> bool:
        text, author = found[0], found[1] and fold_author(found[1])
        if text is None:
            return False
        authors = seen.setdefault(text[:SIGNATURE], {})
        if authors and (author not in authors or text in authors[author]):
            return True
        authors.setdefault(author, set()).add(text)
        return False

    for each in held:
        is_repost(each)
    kept: list[int] = []
    copies: list[int] = []
    for place, found in enumerate(posts):
        (copies if is_repost(found) else kept).append(place)
    return kept, copies
