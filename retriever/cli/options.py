"""Options that several commands take, with their help; and those on what is shown, understood."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from hashlens.indexer.config import VECTOR_PRESETS, VectorConfig, check_file, named
from hashlens.indexer.errors import CallError, ConfigError, HashlensError
from hashlens.indexer.text.hashtags import key
from hashlens.indexer.vectors.milvus_location import SCHEME, address_of
from hashlens.retriever.cli.output import warn
from hashlens.retriever.cli.user_config import UserConfig
from hashlens.retriever.index.blocklist import read_blocked
from hashlens.retriever.index.default import HERE
from hashlens.retriever.selection.platforms import platform as platform_named
from hashlens.retriever.selection.platforms import platforms
from hashlens.retriever.selection.selection import DIVERSITY, GENERIC, Selection, mix_of

DEFAULT_INDEX = HERE
_BETWEEN_SEEDS = re.compile(r"[,;，；、،؛]|\s+(?=[#＃])")


def _platforms(incomplete: str) -> list[str]:
    return [name for name in platforms() if name.startswith(incomplete)]


def _sets(incomplete: str) -> list[str]:
    try:
        return [name for name in UserConfig.find().sets if name.startswith(incomplete)]
    except HashlensError:  # told when a command runs; a shell that completes is no place for it
        return []


def _reader(value: str) -> str:
    """A reader that there is."""
    from hashlens.indexer.posts.formats.registry import AUTO, READERS

    if value not in (AUTO, *READERS):
        raise CallError(f"--reader: found {value!r}, expected one of {', '.join((AUTO, *READERS))}")
    return value


def _index_named(context: typer.Context, option: typer.CallbackParam, value: Path) -> Path:
    """Return the index that is written to, and say which file named it where no option did.

    Raises:
        CallError: a file of the present folder names an index elsewhere.
    """
    source = context.get_parameter_source(option.name or "")
    config = config_of(context)
    if config.file and source is not None and source.name == "DEFAULT_MAP":
        config.check_written(value)
        warn(f"the index is {value}, by {config.file.absolute()}")
    return value


def encoder_named(value: str) -> str:
    """An encoder that there is."""
    from hashlens.indexer.images.encoder import check_name

    check_name(value)
    return value


def check_text(value: str) -> None:
    """See that what was typed is text: bytes of another encoding become half surrogates.

    Raises:
        CallError: it is not.
    """
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise CallError(
            f"found {value!r}, which has bytes that are no UTF-8, expected text: check the "
            "terminal's encoding"
        ) from error


def check_files(**options: Path | None) -> None:
    """See that what options name is a file, whether it will be read or not.

    Raises:
        InputError: one is missing, or no regular file.
    """
    for name, path in options.items():
        if path is not None:
            check_file(path, f"--{name}")


def refuse_unused(wrong: str, **options: object) -> None:
    """Refuse options that a call leaves no use for, rather than pass them over.

    Args:
        wrong: why they have none.
        options: values by name; those that are None or False were not given.

    Raises:
        CallError: one of them was given.
    """
    given = [name for name, value in options.items() if value not in (None, False)]
    if given:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in given)
        raise CallError(f"found {names}, which {wrong}: leave it out")


def vectors_from(given: Sequence[str] | None) -> tuple[VectorConfig, str | None]:
    """How hashtag vectors are learned, and where posts' are kept; None for in the index.

    Raises:
        ConfigError: a value is neither, one of them is named twice, or a secret is in an address.
    """
    places = [SCHEME + address_of(value) for value in given or () if value.startswith(SCHEME)]
    presets = [value for value in given or () if not value.startswith(SCHEME)]
    for values in (places, presets):
        if len(values) > 1:
            raise ConfigError(f"--vectors: found {' and '.join(values)}, expected one of them")
    (preset,) = presets or ["default"]
    return named(VECTOR_PRESETS, preset, "--vectors"), places[0] if places else None


def _vectors(incomplete: str) -> list[str]:
    return [name for name in VECTOR_PRESETS if name.startswith(incomplete)]


Index = Annotated[
    Path,
    typer.Option(
        "--index",
        help="Folder of the index.",
        show_default="./index",
        callback=_index_named,
    ),
]
# Where an index is only read, what is not named is for `index_default` to find.
ReadIndex = Annotated[
    Path | None,
    typer.Option(
        "--index", help="Folder of the index.", show_default="./index, else the index that ships"
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        help="Weights file of the encoder, where it is not in its usual place.",
    ),
]
Check = Annotated[
    bool,
    typer.Option("--check", help="Hash every file of the index first; refuse it if one differs."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]
Reader = Annotated[
    str,
    typer.Option(
        help="Kind of source: tables, huggingface, instaloader, gallery-dl, instagram-export or "
        "captioned; auto finds it by the content.",
        callback=_reader,
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        help="Our name of a column and yours: caption=text; may be repeated.",
    ),
]
FirstComment = Annotated[
    bool | None,
    typer.Option(
        "--first-comment/--no-first-comment",
        help="Count the hashtags of the author's own first comment, where a scrape has comments.",
        show_default="they count, or as the index was built",
    ),
]
Keep = Annotated[
    int, typer.Option(min=1, help="How many states of the index stay on disk, to return to.")
]
Workers = Annotated[int, typer.Option(min=1, help="Threads to use.")]
EngineName = Annotated[
    Literal["local", "ray"],
    typer.Option(
        "--engine",
        help="Where the build runs: on this machine (local), or on a Ray cluster whose machines "
        "share the folders of the posts (ray; needs hashlens[cluster]).",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="Address of the Ray cluster: HOST:PORT, or auto for the one that runs here.",
        show_default="Ray is started here for the time",
    ),
]
Vectors = Annotated[
    list[str] | None,
    typer.Option(
        help="How hashtag vectors are learned: default, report-word2vec, report-glove or "
        "report-pretrained. milvus:http://HOST:PORT or milvus:FILE.db keeps the vectors of posts "
        "there, not in the index. May be given once for each.",
        show_default="default",
        autocompletion=_vectors,
    ),
]
Pretrained = Annotated[
    Path | None,
    typer.Option(help="Pretrained word vectors, a GloVe or word2vec file, to start from."),
]
Seeds = Annotated[
    list[str] | None,
    typer.Option(help="A hashtag to start from, or several with commas between; may be repeated."),
]
Explain = Annotated[
    bool, typer.Option("--explain", help="Say why each hashtag is there, and by which posts.")
]

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
        min=0, max=1, help="Leave out less likely hashtags, even if fewer than k are left, or none."
    ),
]
Diversity = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        help="Share that a hashtag loses if it is like one before it: 0 nothing, 1 everything.",
    ),
]
Generic = Annotated[
    float,
    typer.Option(
        min=0, max=1, help="Lower hashtags that suit any post (#love): 0 not at all, 1 to the end."
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
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="A set of hashtags saved in hashlens.toml, to put first, as pins are; may be "
        "repeated.",
        autocompletion=_sets,
    ),
]
Platform = Annotated[
    str | None,
    typer.Option(
        help="Keep to a network's limit, counting the hashtags of caption and seeds, and leave "
        "other networks' own hashtags out: instagram, tiktok, youtube, x, linkedin, threads, "
        "pinterest or facebook.",
        autocompletion=_platforms,
    ),
]

AllowForgotten = Annotated[
    bool,
    typer.Option(
        "--allow-forgotten",
        help="Let posts that were forgotten or deleted join this index again.",
    ),
]

# Not `author`: a default of that name would reach `forget`, too.
Whose = Annotated[
    str | None,
    typer.Option(
        "--author",
        help="Author of the post: hashtags that this author's posts in the index often have "
        "count as well.",
        show_default="the author of all posts, where there is one alone",
    ),
]


def config_of(context: typer.Context) -> UserConfig:
    """What the person's file says, as the program's entry has read it."""
    return context.obj if isinstance(context.obj, UserConfig) else UserConfig()


def selection_from(
    k: int | None = None,
    min_probability: float = 0.0,
    diversity: float = DIVERSITY,
    generic: float = GENERIC,
    mix: str = "",
    block: Sequence[str] | None = None,
    pin: Sequence[str] | None = None,
    platform: str | None = None,
    sets: Sequence[str] | None = None,
    author: str | None = None,
    config: UserConfig | None = None,
) -> Selection:
    """The selection that options ask for, with the pins, blocks and sets of a person's file.

    What is pinned now is not blocked by the file, and what is blocked now is not pinned by it.

    Raises:
        InputError: a hashtag, file or mix cannot be read.
        ConfigError: a number is out of range, or a name unknown.
    """
    config, now = config or UserConfig(), read_blocked(block or ())
    pinned = config.pinned([*map(key, pin or ())], sets or (), now)
    return Selection(
        k=k,
        min_probability=min_probability,
        diversity=diversity,
        generic=generic,
        mix=mix_of(mix),
        blocked=now | read_blocked(config.block).difference(pinned),
        pinned=tuple(pinned),
        platform=None if platform is None else platform_named(platform),
        author=author,
    )


def seeds_from(given: Sequence[str] | None) -> list[str]:
    """Seeds, of which several may stand in one text: `a, b`, or `#a #b`."""
    parts = [part for text in given or () for part in _BETWEEN_SEEDS.split(text)]
    return [part for part in parts if part.strip()] if any(map(str.strip, parts)) else parts


def columns_from(pairs: Sequence[str] | None) -> dict[str, str]:
    """Names of columns by ours.

    Raises:
        InputError: one is not written as caption=text.
    """
    found = {}
    for pair in pairs or ():
        ours, is_pair, theirs = pair.partition("=")
        if not (is_pair and ours.strip() and theirs.strip()):
            raise CallError(f"--column: found {pair!r}, expected our name and yours: caption=text")
        found[ours.strip()] = theirs.strip()
    return found
