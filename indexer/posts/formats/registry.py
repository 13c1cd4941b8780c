"""The readers by name, and which of them a source is for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from hashlens.indexer.errors import InputError
from hashlens.indexer.posts.exports import instagram_export as account
from hashlens.indexer.posts.exports.parts import is_named
from hashlens.indexer.posts.formats import captioned, huggingface, instaloader, tabular
from hashlens.indexer.posts.formats import gallery_dl as gallerydl
from hashlens.indexer.posts.formats.files import (
    JSON_ENDINGS,
    Folder,
    ReadOptions,
    SourceRow,
    UnreadableError,
    read_json,
    show_path,
    walk,
)
from hashlens.indexer.posts.tables.tables import find_tables, read_rows

AUTO = "auto"
_LOOKED_INTO = 200  # JSON files: a scrape is known by one, but others may lie before it
_IN_FOLDER = 10  # of them
_ENTRIES = 10  # of a JSON file that tell whether it is of posts
_LOOKED_AT = 2000  # folders
_TELLING = ("image", "caption", "hashtags")  # fields of which a table of posts has one


@dataclass(frozen=True, slots=True)
class Reader:
    """One way to read a source.

    `rows` takes the source and how it is read; names of columns count if `has_columns`. `count`
    says about how many rows there are, or None. `tables` gives the files of a source that may be
    read apart, on any machine that has them: `rows` of each, in order, are those of the source.
    `passed_over` says in a sentence what of a source is not read.
    If `is_divided`, a source may be one of several parts, and each is read with all others. If
    `is_named_by_picture`, a post's id may be the name of its picture, which others may show, too.
    """

    about: str
    rows: Callable[[Path, ReadOptions], Iterator[SourceRow]]
    count: Callable[[Path], int | None]
    has_columns: bool = False
    tables: Callable[[Path], list[Path]] | None = None
    passed_over: Callable[[Path], str | None] | None = None
    is_divided: bool = False
    is_named_by_picture: bool = False


def _of_files(rows: Callable[[Path], Iterator[SourceRow]]) -> Callable[..., Iterator[SourceRow]]:
    """A reader of files whose form leaves nothing to choose."""
    return lambda source, _options: rows(source)


def _of_tables(
    rows: Callable[[Path, Mapping[str, str]], Iterator[SourceRow]],
) -> Callable[..., Iterator[SourceRow]]:
    """A reader of tables, whose columns may be named."""
    return lambda source, options: rows(source, options.columns)


READERS: dict[str, Reader] = {
    "tables": Reader(
        "JSON, JSONL, CSV or Parquet, a post a row",
        _of_tables(tabular.rows),
        tabular.count,
        has_columns=True,
        tables=find_tables,
        passed_over=tabular.passed_over,
    ),
    "huggingface": Reader(
        "Parquet with pictures in it, image and text",
        _of_tables(huggingface.rows),
        huggingface.count,
        has_columns=True,
    ),
    "instaloader": Reader("folders that Instaloader wrote", instaloader.rows, instaloader.count),
    "gallery-dl": Reader(
        "folders that gallery-dl filled with --write-metadata",
        _of_files(gallerydl.rows),
        gallerydl.count,
    ),
    "instagram-export": Reader(
        "Instagram's own export of an account, as JSON",
        account.rows,
        lambda _: None,
        is_divided=True,
        is_named_by_picture=True,
    ),
    "captioned": Reader(
        "pictures, each with its caption in a .txt file beside it",
        _of_files(captioned.rows),
        captioned.count,
    ),
}


_OR_A_SCRAPE = (
    "; or a scrape, an export or captioned pictures: if it is one, name its reader "
    f"({', '.join(READERS)})"
)


def find_reader(source: Path, name: str = AUTO, *, has_columns: bool = False) -> Reader:
    """The reader of a source: the one named, or the one that what it holds is for.

    A folder of tables is read as these, or as a data set if the first has pictures in it. One
    whose first table is not of posts, or that has none, is known by what the first JSON file of a
    scrape or export in it says, or else by the names of its files.

    Raises:
        InputError: there is no such source or reader, no reader is for it, or columns are named
            to one that has none.
    """
    if name != AUTO and name not in READERS:
        raise InputError(f"found reader {name!r}, expected one of {', '.join((AUTO, *READERS))}")
    _check_there(source)
    name = _recognised(source, has_columns=has_columns) if name == AUTO else name
    reader = READERS[name]
    if has_columns and not reader.has_columns:
        those = " and ".join(n for n, reader in READERS.items() if reader.has_columns)
        raise InputError(f"found columns named for reader {name}, which has none; {those} have")
    return reader


def find_readers(
    sources: Sequence[Path], name: str = AUTO, *, has_columns: bool = False
) -> list[Reader]:
    """The reader of each source; what has pictures alone may be a part of an export.

    Raises:
        InputError: as `find_reader`.
    """
    found: list[Reader | None] = []
    problem: InputError | None = None
    for source in sources:
        try:
            found.append(find_reader(source, name, has_columns=has_columns))
        except InputError as error:
            if name != AUTO or len(sources) == 1 or not account.is_part(source):
                raise
            problem = problem or error
            found.append(None)
    if problem and not any(reader and reader.is_divided for reader in found):
        raise problem
    return [reader or READERS["instagram-export"] for reader in found]


def _check_there(source: Path) -> None:
    try:
        mode = source.stat().st_mode
    except FileNotFoundError as error:
        raise InputError(
            f"found nothing at {show_path(source)}, expected a file or folder of posts"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{show_path(source)}: cannot be read ({error})") from error
    # A pipe or device would be waited for, perhaps forever.
    if not (S_ISREG(mode) or S_ISDIR(mode)):
        raise InputError(f"{show_path(source)}: found a pipe or device, expected a file or folder")


def _recognised(source: Path, *, has_columns: bool) -> str:
    try:
        table = find_tables(source)[0]
    except InputError as error:
        if found := _known_scrape(source):
            return found
        if problem := account.why_not(source):
            raise InputError(problem) from error
        raise InputError(f"{error}{_OR_A_SCRAPE}") from error
    if _is_data_set(table):
        return "huggingface"
    if has_columns:
        return "tables"
    if table.suffix.lower() == ".json":  # scrapes and exports are of these, too
        return _known_json(source) or _json_table(table)
    other = None if _is_of_posts(table) else _known_scrape(source)
    return other or "tables"


def _json_table(table: Path) -> str:
    """The reader of tables, for a JSON file that begins with posts.

    Raises:
        InputError: it does not.
    """
    rows = list(islice(tabular.read_named(table, {}), _ENTRIES))
    if not any(row.fields for row in rows):
        why = next((f" ({row.problem})" for row in rows if row.problem), "")
        raise InputError(f"found {show_path(table)}, expected a list of posts{why}{_OR_A_SCRAPE}")
    return "tables"


def _is_of_posts(table: Path) -> bool:
    """Whether a table begins with a post: scrapes may have other tables beside them."""
    try:
        row = next(read_rows(table, _TELLING, batch=1), None)
    except InputError:
        return False
    return row is not None and not row.fields.keys().isdisjoint(_TELLING)


def _is_data_set(table: Path) -> bool:
    try:
        return table.suffix.lower() == ".parquet" and huggingface.is_data_set(table)
    except InputError:
        return False  # whoever reads it says what is wrong


def _known_scrape(source: Path) -> str | None:
    folders = islice(walk(source), _LOOKED_AT)
    by_name = (found for folder in folders if (found := _by_name(folder)))
    return _known_json(source) or next(by_name, None)


def _known_json(source: Path) -> str | None:
    """The reader of a scrape or export, by the first JSON file that says it is one."""
    folders = list(islice(walk(source), _LOOKED_AT))
    files = islice(_json_files(folders), _LOOKED_INTO)
    return next((found for path in files if (found := _by_json(path))), None)


def _json_files(folders: list[Folder]) -> Iterator[Path]:
    """JSON files, a few of each folder; those first that would be an export's posts."""
    for folder in folders:
        yield from (folder.path / name for name in folder.names if is_named(name))
    for folder in folders:
        names = (name for name in folder.names if name.lower().endswith(JSON_ENDINGS))
        yield from (folder.path / name for name in islice(names, _IN_FOLDER))


def _by_json(path: Path) -> str | None:
    """The reader that a JSON file is for, by what it says."""
    try:
        if is_named(path.name) and account.is_export(path):
            return "instagram-export"
        value = read_json(path)
    except UnreadableError:
        return None
    if instaloader.is_post(value):
        return "instaloader"
    return "gallery-dl" if gallerydl.is_post(value) else None


def _by_name(folder: Folder) -> str | None:
    """The reader that a folder without JSON is for, by the names in it."""
    if account.has_archive(folder):
        return "instagram-export"
    if any(name.lower().endswith(".parquet") for name in folder.names):
        return "huggingface"
    if any(instaloader.is_dated(name) and name.endswith(".txt") for name in folder.names):
        return "instaloader"
    return "captioned" if captioned.has_captions(folder) else None
