"""Lists the readers by name, and finds the reader of a source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
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
    ReadOptions,
    SourceRow,
    UnreadableError,
    read_json,
    show_path,
    walk,
)
from hashlens.indexer.posts.tables.tables import find_tables, read_rows

AUTO = "auto"
_MAX_JSON_FILES = 200  # JSON files that are read to recognise a scrape
_MAX_IN_FOLDER = 10  # JSON files that are read in one folder
_MAX_ENTRIES = 10  # entries of a JSON file by which a table of posts is recognised
_MAX_FOLDERS = 2000  # folders that are searched
_TELLING = ("image", "caption", "hashtags")  # a table of posts has at least one of these


@dataclass(frozen=True, slots=True)
class Reader:
    """One way to read a source.

    `rows` takes the source and the options; column names count if `has_columns`. `count` returns
    about how many rows there are, or None. `tables` lists the files of a source that can be read
    separately, on any machine that has them: their `rows` in order are those of the source.
    `passed_over` returns a sentence about files that are not read. If `is_divided`, a source may be
    one of several parts, and each is read together with the others. If `is_named_by_picture`, a
    post's id may be the name of its picture, which several posts may show.
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
    """Return a reader that takes no options."""
    return lambda source, _options: rows(source)


def _of_tables(
    rows: Callable[[Path, Mapping[str, str]], Iterator[SourceRow]],
) -> Callable[..., Iterator[SourceRow]]:
    """Return a reader of tables, whose columns may be named."""
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
    """Return the reader of a source: the named one, or the one that fits its content.

    A folder of tables is read as these, or as a data set if the first has pictures in it. If its
    first table is not of posts, or there is none, the first JSON file of a scrape or export
    decides, or else the names of its files.

    Raises:
        InputError: there is no such source or reader, no reader fits, or columns are named for a
            reader that has none.
    """
    if name != AUTO and name not in READERS:
        raise InputError(f"found reader {name!r}, expected one of {', '.join((AUTO, *READERS))}")
    _check_exists(source)
    name = _recognise(source, has_columns=has_columns) if name == AUTO else name
    reader = READERS[name]
    if has_columns and not reader.has_columns:
        those = " and ".join(n for n, reader in READERS.items() if reader.has_columns)
        raise InputError(f"found columns named for reader {name}, which has none; {those} have")
    return reader


def find_readers(
    sources: Sequence[Path], name: str = AUTO, *, has_columns: bool = False
) -> list[Reader]:
    """Return the reader of each source; one with only pictures may be a part of an export.

    Raises:
        InputError: see `find_reader`.
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


def _check_exists(source: Path) -> None:
    try:
        mode = source.stat().st_mode
    except FileNotFoundError as error:
        raise InputError(
            f"found nothing at {show_path(source)}, expected a file or folder of posts"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{show_path(source)}: cannot be read ({error})") from error
    # Reading from a pipe or device could block forever.
    if not (S_ISREG(mode) or S_ISDIR(mode)):
        raise InputError(f"{show_path(source)}: found a pipe or device, expected a file or folder")


def _recognise(source: Path, *, has_columns: bool) -> str:
    """Return the name of the reader that fits a source."""
    try:
        table = find_tables(source)[0]
    except InputError as error:
        if found := _recognise_scrape(source):
            return found
        if problem := account.why_not(source):
            raise InputError(problem) from error
        raise InputError(f"{error}{_OR_A_SCRAPE}") from error
    with suppress(InputError):  # its reader reports the problem
        if table.suffix.lower() == ".parquet" and huggingface.is_data_set(table):
            return "huggingface"
    if has_columns:
        return "tables"
    if table.suffix.lower() == ".json":  # scrapes and exports have JSON files, too
        if name := _recognise_json_files(source):
            return name
        rows = list(islice(tabular.read_named(table, {}), _MAX_ENTRIES))
        if any(row.fields for row in rows):
            return "tables"
        why = next((f" ({row.problem})" for row in rows if row.problem), "")
        raise InputError(f"found {show_path(table)}, expected a list of posts{why}{_OR_A_SCRAPE}")
    with suppress(InputError):
        row = next(read_rows(table, _TELLING, batch=1), None)
        if row is not None and not row.fields.keys().isdisjoint(_TELLING):
            return "tables"
    return _recognise_scrape(source) or "tables"


def _recognise_scrape(source: Path) -> str | None:
    """Return the reader of a scrape or export, by its JSON files or else by names of files."""
    if name := _recognise_json_files(source):
        return name
    for folder in islice(walk(source), _MAX_FOLDERS):
        if account.has_archive(folder):
            return "instagram-export"
        if any(name.lower().endswith(".parquet") for name in folder.names):
            return "huggingface"
        if any(instaloader.is_dated(name) and name.endswith(".txt") for name in folder.names):
            return "instaloader"
        if captioned.has_captions(folder):
            return "captioned"
    return None


def _recognise_json_files(source: Path) -> str | None:
    """Return the reader of a scrape or export, by the first JSON file that has its form.

    Files named as an export's posts come first, then a few JSON files of each folder.
    """
    folders = list(islice(walk(source), _MAX_FOLDERS))
    paths = [folder.path / name for folder in folders for name in folder.names if is_named(name)]
    for folder in folders:
        names = (name for name in folder.names if name.lower().endswith(JSON_ENDINGS))
        paths += [folder.path / name for name in islice(names, _MAX_IN_FOLDER)]
    for path in paths[:_MAX_JSON_FILES]:
        with suppress(UnreadableError):
            if is_named(path.name) and account.is_export(path):
                return "instagram-export"
            value = read_json(path)
            if instaloader.is_post(value):
                return "instaloader"
            if gallerydl.is_post(value):
                return "gallery-dl"
    return None
