"""Options that several commands share, with their help, and functions that read them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer

from hashlens.indexer.config import VECTOR_PRESETS, VectorConfig, check_file, choose
from hashlens.indexer.errors import CallError, ConfigError, HashlensError
from hashlens.indexer.text.hashtags import key
from hashlens.indexer.vectors.milvus_location import SCHEME, parse_address
from hashlens.retriever.cli.output import warn
from hashlens.retriever.cli.user_config import UserConfig
from hashlens.retriever.index.blocklist import read_blocked
from hashlens.retriever.selection.platforms import load_platforms
from hashlens.retriever.selection.selection import DEFAULT_DIVERSITY, DEFAULT_GENERIC, Selection
from hashlens.retriever.selection.selection_options import SelectionOptions

_BETWEEN_SEEDS = re.compile(r"[,;，；、،؛]|\s+(?=[#＃])")


def complete(list_names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """Return a shell completion of names; an error shows when a command runs, not before."""

    def complete_name(incomplete: str) -> list[str]:
        try:
            return [name for name in list_names() if name.startswith(incomplete)]
        except HashlensError:
            return []

    return complete_name


def _check_reader(value: str) -> str:
    """Return the name of a reader, if it exists."""
    from hashlens.indexer.posts.formats.registry import AUTO, READERS

    if value not in (AUTO, *READERS):
        raise CallError(f"--reader: found {value!r}, expected one of {', '.join((AUTO, *READERS))}")
    return value


def _show_index(context: typer.Context, option: typer.CallbackParam, value: Path) -> Path:
    """Return the index to write to; if `hashlens.toml` names it, say so.

    Raises:
        CallError: a file of the present folder names an index elsewhere.
    """
    source = context.get_parameter_source(option.name or "")
    config = config_of(context)
    if config.file and source is not None and source.name == "DEFAULT_MAP":
        config.check_written(value)
        warn(f"the index is {value}, by {config.file.absolute()}")
    return value


def check_encoder(value: str) -> str:
    """Return the name of an encoder, if it exists."""
    from hashlens.indexer.images.encoder import check_name

    check_name(value)
    return value


def check_text(value: str) -> None:
    """Check that an argument is text: bytes of another encoding become lone surrogates.

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
    """Check that options name regular files, even if these will not be read.

    Raises:
        InputError: one is missing, or no regular file.
    """
    for name, path in options.items():
        if path is not None:
            check_file(path, f"--{name}")


def refuse_unused(wrong: str, **options: object) -> None:
    """Refuse options that have no effect in a call.

    Args:
        wrong: the reason.
        options: values by name; None or False means not given.

    Raises:
        CallError: one of them was given.
    """
    given = [name for name, value in options.items() if value not in (None, False)]
    if given:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in given)
        raise CallError(f"found {names}, which {wrong}: leave it out")


def vectors_from(given: Sequence[str] | None) -> tuple[VectorConfig, str | None]:
    """Return the training of hashtag vectors, and the place of posts' vectors if not the index.

    Raises:
        ConfigError: a value is neither, one is given twice, or an address contains a secret.
    """
    places = [SCHEME + parse_address(value) for value in given or () if value.startswith(SCHEME)]
    presets = [value for value in given or () if not value.startswith(SCHEME)]
    for values in (places, presets):
        if len(values) > 1:
            raise ConfigError(f"--vectors: found {' and '.join(values)}, expected one of them")
    (preset,) = presets or ["default"]
    return choose(VECTOR_PRESETS, preset, "--vectors"), places[0] if places else None


Index = Annotated[
    Path,
    typer.Option(
        "--index",
        help="Folder of the index.",
        show_default="./index",
        callback=_show_index,
    ),
]
# For reading alone; without a value, `find_index` decides.
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
        callback=_check_reader,
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
        autocompletion=complete(lambda: VECTOR_PRESETS),
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
        autocompletion=complete(lambda: UserConfig.find().sets),
    ),
]
Platform = Annotated[
    str | None,
    typer.Option(
        help="Keep to a network's limit, counting the hashtags of caption and seeds, and leave "
        "other networks' own hashtags out: instagram, tiktok, youtube, x, linkedin, threads, "
        "pinterest or facebook.",
        autocompletion=complete(load_platforms),
    ),
]

AllowForgotten = Annotated[
    bool,
    typer.Option(
        "--allow-forgotten",
        help="Let posts that were forgotten or deleted join this index again.",
    ),
]

# The parameter is not called `author`: a default of that name would reach `forget`, too.
PostAuthor = Annotated[
    str | None,
    typer.Option(
        "--author",
        help="Author of the post: hashtags that this author's posts in the index often have "
        "count as well.",
        show_default="the author of all posts, where there is one alone",
    ),
]


def config_of(context: typer.Context) -> UserConfig:
    """Return the person's file, as the program's entry has read it."""
    return context.obj if isinstance(context.obj, UserConfig) else UserConfig()


@dataclass(frozen=True, slots=True)
class SelectionArguments:
    """The options on the selection that `recommend` and `batch` share."""

    k: K = None
    min_probability: MinProbability = 0.0
    diversity: Diversity = DEFAULT_DIVERSITY
    generic: Generic = DEFAULT_GENERIC
    mix: Mix = ""
    block: Block = None
    pin: Pin = None
    sets: Set = None
    platform: Platform = None
    post_author: PostAuthor = None

    def to_selection(self, config: UserConfig) -> Selection:
        """Return the selection, with the pins, blocks and sets of a person's file.

        The command line wins: the file neither blocks its pins nor pins its blocked hashtags.

        Raises:
            InputError: a hashtag, file or mix cannot be read.
            ConfigError: a number is out of range, or a name unknown.
        """
        blocked = read_blocked(self.block or ())
        pinned = config.pinned([*map(key, self.pin or ())], self.sets or (), blocked)
        return SelectionOptions(
            self.k,
            self.min_probability,
            self.diversity,
            self.generic,
            self.mix,
            blocked | read_blocked(config.block).difference(pinned),
            pinned,
            self.platform,
            self.post_author,
        ).to_selection()


NO_ARGUMENTS = SelectionArguments()


def with_selection(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command whose parameter `selection` is replaced by one option for each field."""
    own = inspect.signature(command, eval_str=True)
    types = get_type_hints(SelectionArguments, include_extras=True)
    shared = [
        inspect.Parameter(f.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=f.default)
        for f in fields(SelectionArguments)
    ]
    shared = [parameter.replace(annotation=types[parameter.name]) for parameter in shared]

    @wraps(command)
    def call(**values: Any) -> None:  # noqa: ANN401 (any option)
        chosen = SelectionArguments(**{each.name: values.pop(each.name) for each in shared})
        command(selection=chosen, **values)

    parameters: list[inspect.Parameter] = []
    for parameter in own.parameters.values():
        parameters += shared if parameter.name == "selection" else [parameter]
    call.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    return call


def seeds_from(given: Sequence[str] | None) -> list[str]:
    """Return seeds; one text may contain several: `a, b`, or `#a #b`."""
    parts = [part for text in given or () for part in _BETWEEN_SEEDS.split(text)]
    return [part for part in parts if part.strip()] if any(map(str.strip, parts)) else parts


def columns_from(pairs: Sequence[str] | None) -> dict[str, str]:
    """Return the sources' names of columns by ours.

    Raises:
        CallError: one is not written as caption=text.
    """
    found = {}
    for pair in pairs or ():
        ours, is_pair, theirs = pair.partition("=")
        if not (is_pair and ours.strip() and theirs.strip()):
            raise CallError(f"--column: found {pair!r}, expected our name and yours: caption=text")
        found[ours.strip()] = theirs.strip()
    return found
