"""Makes tables for people to read on a terminal; nothing is printed here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from hashlens.indexer.text.escaping import safe
from hashlens.indexer.types import Rejection
from hashlens.retriever.explanations.reasons import evidence_phrases
from hashlens.retriever.recommendation import Recommendation

BAR, SHORT_BAR = 10, 3  # cells of a bar; each has eight steps
NARROW = 60  # columns in which no hashtag is folded
PERCENT, BESIDE = 5, 8  # columns of a percentage, and of the gaps and the reason
REASON = 20  # columns that a sentence of reasons needs
YOUNG = ", young"
EVEN = 0.005  # topics whose probabilities differ less are not shown
TIER_STYLES = {"broad": "cyan", "medium": "green", "niche": "magenta"}
KINDS = 2  # kinds of evidence named beside a hashtag
MIN_SHARE = 0.05  # smallest share that people see


def answer_table(answer: Recommendation) -> Table:
    """Return a table of an answer's hashtags, with the topics above and the main evidence."""
    widest = max((cell_len(tag.display) + 1 for tag in answer.tags), default=0)
    tiers = max((len(tag.tier) + len(YOUNG) * tag.is_new for tag in answer.tags), default=0)
    room = NARROW - widest - tiers - PERCENT - BESIDE
    cells = BAR if room >= BAR else SHORT_BAR
    chances = [chance for _, chance in answer.topics]
    title = ""
    if chances and max(chances) - min(chances) >= EVEN:
        title = "topics: " + ", ".join(f"{name} {each:.0%}" for name, each in answer.topics[:3])
    shown = _framed(title)
    # In few columns the reason folds, and the hashtag does not, because people copy it.
    shown.add_column("hashtag", overflow="fold", style="bold", no_wrap=room >= SHORT_BAR)
    shown.add_column("probability", no_wrap=True)
    shown.add_column("tier", no_wrap=True)
    shown.add_column("because of", overflow="fold")
    for tag in answer.tags:
        style = TIER_STYLES.get(tag.tier, "")
        percent = "<1%" if 0 < tag.probability < 0.01 else f"{tag.probability:.0%}"
        shown.add_row(
            Text(safe(f"#{tag.display}"), style),
            Text.assemble((bar(tag.probability, cells), style), f" {percent:>4}"),
            Text(tag.tier + YOUNG * tag.is_new, style),
            ", ".join(phrase for phrase, _ in evidence_phrases(tag.evidence)[:KINDS]),
        )
    return shown


def bar(probability: float, cells: int = BAR) -> str:
    """Return a bar of block characters, padded to the width of its cells."""
    eighths = round(min(max(probability, 0), 1) * cells * 8)
    if probability > 0:
        eighths = max(eighths, 1)
    whole, rest = divmod(eighths, 8)
    return f"{'█' * whole}{' ▏▎▍▌▋▊▉'[rest] if rest else ''}".ljust(cells)


def reasons_table(answer: Recommendation) -> Table:
    """Return a table of reasons: a sentence for each hashtag, and the shares of its evidence."""
    shown = _framed("why", head=False)
    widest = max((cell_len(tag.display) + 1 for tag in answer.tags), default=0)
    shown.add_column(overflow="fold", style="bold", no_wrap=widest <= NARROW - REASON)
    shown.add_column(overflow="fold")
    for tag in answer.tags:
        shares = [
            f"{name} {share:.0%}"
            for name, share in evidence_phrases(tag.evidence)
            if share >= MIN_SHARE
        ]
        why = Text(safe(tag.reason))
        if len(shares) > 1:
            why.append(f"\n{', '.join(shares)}", "dim")
        shown.add_row(Text(safe(f"#{tag.display}"), TIER_STYLES.get(tag.tier, "")), why)
    return shown


def table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    """Return a table of plain texts; it has no head if all columns are nameless."""
    shown = _framed(title, head=any(columns))
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        # Captions and ids come from strangers: neither markup nor terminal codes pass.
        shown.add_row(*(escape(safe(cell)) for cell in row))
    return shown


def _framed(title: str, *, head: bool = True) -> Table:
    """Return an empty table; it has one rule, under its head, to save columns."""
    return Table(
        title=escape(safe(title)) or None,
        title_justify="left",
        show_header=head,
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )


def unused(rejections: Sequence[Rejection], shown: int = 10) -> list[str]:
    """Return a line for each of the first rejections and one for the rest, then the notes.

    Lost posts come first.
    """
    lost = [rejection for rejection in rejections if not rejection.is_note]
    first = sorted(lost, key=lambda rejection: rejection.post_kept)[:shown]
    lines = [f"not used: {safe(str(rejection))}" for rejection in first]
    if more := len(lost) - len(first):
        lines.append(f"not used: {more:,} more; --json lists all")
    return [*lines, *(f"note: {safe(str(note))}" for note in rejections if note.is_note)]


def plain(value: Any) -> str:  # noqa: ANN401 (any JSON value)
    """Return a JSON value as a person would write it."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {plain(part)}" for name, part in value.items())
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, list):
        return " ".join(plain(part) for part in value)
    return f"{value:,}" if isinstance(value, int) else str(value)
