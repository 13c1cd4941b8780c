"""What a near-duplicate is: posts that say the same, of which an index keeps the first.

A repost has the words of another post (case, punctuation, mentions, links and numbers aside) and
its set of hashtags. Fewer words than five are written anew every day by people who never saw each
other's post: then the picture must be the same too, byte for byte. A list of hashtags alone
is nobody's repost. A row without an id is a copy of one with all the same content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence

from indexer.schema import Post

FEWEST_WORDS = 5
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
        return post.content_hash[:32] if is_nameless(post) else None
    told = _JSON.encode([list(words), sorted(post.hashtags), picture])
    return hashlib.sha256(told.encode("utf-8")).hexdigest()[:32]


def first_of_each(
    signatures: Sequence[str | None], held: Collection[str] = ()
) -> tuple[list[int], list[int]]:
    """Places of the posts that are to be kept, and of the reposts, each ascending.

    Args:
        signatures: of n posts, in order.
        held: signatures of posts that are there already.
    """
    seen = set(held)
    kept: list[int] = []
    copies: list[int] = []
    for place, found in enumerate(signatures):
        (copies if found in seen else kept).append(place)
        if found is not None:
            seen.add(found)
    return kept, copies
