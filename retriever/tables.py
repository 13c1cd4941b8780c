"""Tables that people read on a terminal; nothing is printed here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from indexer.schema import Recommendation, Rejection


def answer_table(answer: Recommendation) -> Table:
    """The ranked hashtags of one answer, with topics above and main evidence beside."""
    topics = ", ".join(f"{name} {prob:.0%}" for name, prob in answer.topics[:3])
    rows = [
        (
            str(place),
            f"#{tag.display}",
            f"{'█' * round(tag.probability * 20):<20} {_percent(tag.probability):>4}",
            tag.tier,
            ", ".join(f"{part.channel} {part.share:.0%}" for part in tag.evidence[:2]),
        )
        for place, tag in enumerate(answer.tags, start=1)
    ]
    return table(f"topics: {topics}", ("", "hashtag", "probability", "tier", "because of"), rows)


def _percent(probability: float) -> str:
    return "<1%" if 0 < probability < 0.01 else f"{probability:.0%}"


def evidence_table(answer: Recommendation) -> Table:
    """Every channel that spoke for each hashtag, its share, and the posts behind it."""
    rows = [
        (f"#{tag.display}", part.channel, f"{part.share:.0%}", ", ".join(part.posts))
        for tag in answer.tags
        for part in tag.evidence
    ]
    return table("evidence", ("hashtag", "channel", "share", "supporting posts"), rows)


def table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    """A table of plain texts; its head is left out where all columns are nameless."""
    shown = Table(title=escape(title), title_justify="left", show_header=any(columns))
    for column in columns:
        shown.add_column(column)
    for row in rows:
        # Captions and ids come from strangers: neither markup nor terminal codes pass.
        shown.add_row(*(escape(safe(cell)) for cell in row))
    return shown


def unused(rejections: Sequence[Rejection], shown: int = 10) -> list[str]:
    """A line for each of the first rejections, and one for the rest; lost posts come first."""
    first = sorted(rejections, key=lambda rejection: rejection.post_kept)[:shown]
    lines = [f"not used: {safe(str(rejection))}" for rejection in first]
    more = len(rejections) - len(first)
    return [*lines, f"not used: {more:,} more; --json lists all"] if more else lines


def safe(text: str) -> str:
    """The text without control characters, which a terminal would obey."""
    return "".join(c if c.isprintable() or c in "\u200c\u200d" else "�" for c in text)


def plain(value: Any) -> str:  # noqa: ANN401 (any JSON value)
    """A JSON value as a person would write it."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {plain(part)}" for name, part in value.items())
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:,}" if isinstance(value, int) else str(value)
