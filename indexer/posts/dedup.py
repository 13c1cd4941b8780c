"""What a near-duplicate is: posts that say the same, of which an index keeps the first.

A repost has the words of another post (case, punctuation, mentions, links and numbers aside) and
its set of hashtags. Fewer words than five are written anew every day by people who never saw each
other's post: then the picture must be the same too, byte for byte. A list of hashtags alone
is nobody's repost. A row without an id is a copy of one with all the same content.

Numbers tell apart what one author posts: "Day 4 of my challenge" and "Day 5 of my challenge" are
two posts of a series. Posts without an author are taken for one author's. Somebody else's post with
the same words is a repost, whatever its numbers are.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence

from hashlens.indexer.text.authors import fold_author
from hashlens.indexer.types import Post

FEWEST_WORDS = 5
SIGNATURE = 32  # digits of a signature, with which a mark begins
_OF_NUMBERS = 16  # digits of the hash of numbers
_NUMBER = re.compile(r"\d+")
_JSON = json.JSONEncoder(ensure_ascii=False)


def is_nameless(post: Post) -> bool:
    """Whether a post came without an id, and is named after its content."""
    return post.post_id.startswith(f"sha256-{post.content_hash[:16]}")


def signature(post: Post, words: Sequence[str]) -> str | None:
    """What a post shares with its reposts, 32 hexadecimal digits; None where it can have none.

    Args:
        post: as read.
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
    """The signature of a post and, where its caption has numbers, a hyphen and a hash of them."""
    found = signature(post, words)
    numbers = _NUMBER.findall(post.caption) if found else []
    return f"{found}-{_digest(numbers)[:_OF_NUMBERS]}" if numbers else found


def _digest(content: object) -> str:
    return hashlib.sha256(_JSON.encode(content).encode("utf-8")).hexdigest()[:SIGNATURE]


Marked = tuple[str | None, str | None]  # a post's mark, and its author


def first_of_each(
    posts: Sequence[Marked], held: Iterable[Marked] = ()
) -> tuple[list[int], list[int]]:
    """Places of the posts that are to be kept, and of the reposts, each ascending.

    Args:
        posts: marks and authors of n posts, in order.
        held: those of posts that are there already.
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
