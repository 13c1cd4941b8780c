"""Options that several commands take, with their help; and those on what is shown, understood."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from indexer.errors import InputError
from indexer.hashtags import key
from retriever.blocklist import read_blocked
from retriever.platforms import platform as platform_named
from retriever.selection import DIVERSITY, GENERIC, Selection

DEFAULT_INDEX = Path("index")

Index = Annotated[
    Path, typer.Option("--index", help="Folder of the index.", show_default="./index")
]
Weights = Annotated[
    Path | None,
    typer.Option(help="Weights file of the encoder, where it is not in its usual place."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]
Vectors = Annotated[
    str,
    typer.Option(
        help="How hashtag vectors are learned: default, report-word2vec, "
        "report-glove or report-pretrained."
    ),
]
Pretrained = Annotated[
    Path | None,
    typer.Option(help="Pretrained word vectors, a GloVe or word2vec file, to start from."),
]
Seeds = Annotated[list[str] | None, typer.Option(help="A hashtag to go on from; may be repeated.")]
Explain = Annotated[bool, typer.Option(help="Show what spoke for each hashtag, and which posts.")]

K = Annotated[
    int | None,
    typer.Option(
        "-k",
        min=1,
        help="How many hashtags at most.",
        show_default="5, or what the platform recommends",
    ),
]
MinProbability = Annotated[
    float,
    typer.Option(
        min=0, max=1, help="Leave out what is less likely, even if fewer than k are left, or none."
    ),
]
Diversity = Annotated[
    float,
    typer.Option(
        min=0, max=1, help="How much a hashtag like one before it loses: 0 nothing, 1 everything."
    ),
]
Generic = Annotated[
    float,
    typer.Option(
        min=0, max=1, help="How far down hashtags go that suit any post (#love): 0 not, 1 last."
    ),
]
Mix = Annotated[
    str,
    typer.Option(
        help="Places for each tier (by posts in this index), as broad:1,medium:2,niche:2; "
        "the likeliest of all fill the rest.",
        show_default=False,
    ),
]
Block = Annotated[
    list[str] | None,
    typer.Option(
        help="A hashtag to leave out, or a file with one a line (// begins a comment); "
        "may be repeated."
    ),
]
Pin = Annotated[
    list[str] | None, typer.Option(help="A hashtag to put first, known or not; may be repeated.")
]
Platform = Annotated[
    str | None,
    typer.Option(
        help="Keep to a network's limit, and leave other networks' own hashtags out: instagram, "
        "tiktok, youtube, x, linkedin, threads, pinterest or facebook."
    ),
]


def selection_from(
    k: int | None = None,
    min_probability: float = 0.0,
    diversity: float = DIVERSITY,
    generic: float = GENERIC,
    mix: str = "",
    block: Sequence[str] | None = None,
    pin: Sequence[str] | None = None,
    platform: str | None = None,
) -> Selection:
    """The selection that options ask for.

    Raises:
        InputError: a hashtag, file or mix cannot be read.
        ConfigError: a number is out of range, or a name unknown.
    """
    return Selection(
        k=k,
        min_probability=min_probability,
        diversity=diversity,
        generic=generic,
        mix=_mix(mix),
        blocked=read_blocked(block or ()),
        pinned=tuple(dict.fromkeys(map(key, pin or ()))),
        platform=None if platform is None else platform_named(platform),
    )


def _mix(text: str) -> tuple[tuple[str, int], ...]:
    parts = [part.partition(":") for part in text.split(",") if part.strip()]
    try:
        return tuple((name.strip().lower(), int(number)) for name, _, number in parts)
    except ValueError as error:
        raise InputError(
            f"--mix: found {text!r}, expected a number for each tier, as broad:1,medium:2,niche:2"
        ) from error
