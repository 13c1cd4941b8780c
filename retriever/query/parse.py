"""Makes queries: one from the command line, many from a table of rows or a folder of pictures."""

from __future__ import annotations

import codecs
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hashlens.indexer.decoding.file_formats import is_picture_file
from hashlens.indexer.errors import HashlensError, InputError
from hashlens.indexer.posts.formats.files import show_path, walk
from hashlens.indexer.posts.tables.tables import Row, count_lines, find_tables, kind, read_rows
from hashlens.indexer.text.hashtags import extract, key, strip
from hashlens.retriever.recommendation import Query

COLUMNS = ("id", "image", "caption", "seeds")
STDIN = Path("-")
MAX_CAPTION = 10_000  # characters of a row's caption, as in the API
MAX_SEEDS = 100  # of a row, with the hashtags of its caption
_HEAD = 4_096  # bytes of stdin that show its form


def make_query(image: Path | None, caption: str, seeds: Sequence[str]) -> Query:
    """Return a person's query; hashtags in the caption count as seeds.

    Raises:
        InputError: nothing is given, a seed is no hashtag, or there is no such picture.
    """
    if image and not image.is_file():
        found = "a folder" if image.is_dir() else "nothing there"
        raise InputError(f"--image {image}: found {found}, expected a picture")
    tags = [key(seed) for seed in [*seeds, *extract(caption)]]
    return Query(image, strip(caption), tuple(dict.fromkeys(tags)))


@contextmanager
def rows_file(source: Path) -> Iterator[tuple[Path, Path | None]]:
    """Yield the source of rows, and the folder of their pictures, None for the source's own.

    `-` is stdin, which is copied into a temporary file. Its first bytes show its form: JSON begins
    with a bracket, Parquet with its mark, and anything else is CSV.

    Raises:
        InputError: stdin is closed.
    """
    if source != STDIN:
        yield source, None
        return
    if sys.stdin is None or sys.stdin.closed:
        raise InputError("-: found stdin closed, expected rows there: JSON, CSV or Parquet")
    stdin = sys.stdin.buffer
    with TemporaryDirectory(prefix="hashlens-") as folder:
        start = stdin.read(_HEAD)
        form = "parquet" if start.startswith(b"PAR1") else "csv"
        if start.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in (b"{", b"["):
            form = "jsonl"
        path = Path(folder) / f"stdin.{form}"
        with path.open("wb") as file:
            file.write(start)
            shutil.copyfileobj(stdin, file)
        yield path, Path.cwd()


@dataclass(frozen=True, slots=True)
class QuerySource:
    """The queries of a table, of a folder of tables, or of a folder of pictures.

    `tables` hold rows with any of the fields `id`, `image`, `caption` and `seeds`. Otherwise
    `pictures` are queries, `problems` are paths that cannot be looked at, and `others` names the
    files that are no pictures. `root` is the folder that pictures of rows are looked for in; None
    for that of their table.
    """

    path: Path
    tables: Sequence[Path] = ()
    pictures: list[Path] = field(default_factory=list)
    problems: list[tuple[Path, str]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    root: Path | None = None

    def count(self) -> int | None:
        """Return about how many queries there are, for a progress bar; None if unknown."""
        counts = [count_lines(path) for path in self.tables]
        found = sum(count or 0 for count in counts)
        return found + len(self.pictures) + len(self.problems) or None

    def read(self) -> Iterator[tuple[str, Query | HashlensError]]:
        """Yield each query with its id; a row that cannot be asked has its error.

        The id of a picture is its path in the folder. A row without an id has its number. If
        another row has that number for its id, or several tables are read, the table's name
        stands before it. Hashtags in a caption are seeds; a field `hashtags` is not looked at.

        Raises:
            InputError: a table cannot be read.
        """
        for path, problem in self.problems:
            yield (
                show_path(path.relative_to(self.path)),
                InputError(f"{show_path(path)}: {problem}"),
            )
        for path in self.pictures:
            yield show_path(path.relative_to(self.path)), Query(path)
        numbers = _RowNumbers(self.path, self.tables)
        for path in self.tables:
            place = (self.root or path.parent).absolute()
            for row in read_rows(path, COLUMNS):
                row_id = _given_id(row) or numbers.name(path, row)
                try:
                    if row.problem:
                        raise InputError(f"{path.name}:{row.line}: {row.problem}")
                    yield row_id, _make_row_query(row.fields, place)
                except InputError as error:
                    yield row_id, error


def find_queries(
    source: Path, root: Path | None = None, answers: Path | None = None
) -> QuerySource:
    """Find the tables of rows that a source stands for, or else the pictures of a folder.

    Args:
        source: a table, a folder that holds one, or a folder of pictures.
        root: folder that pictures of rows are looked for in; that of their table if None.
        answers: file that is written. An earlier run may have left it in the folder.

    Raises:
        InputError: there is nothing to read.
    """
    try:
        tables = [path for path in find_tables(source) if not _is_same(path, answers)]
        if tables:
            return QuerySource(source, tables, root=root)
        raise InputError(f"found answers of an earlier run alone in {source}, expected rows")
    except InputError:
        found = _list_pictures(source, answers) if source.is_dir() else QuerySource(source)
        if found.pictures or found.problems:
            return found
        raise


class _RowNumbers:
    """Ids for the rows that have none: their numbers, unless those are taken."""

    def __init__(self, source: Path, tables: Sequence[Path]) -> None:
        self._names: dict[Path, str] = {}
        for path in tables:
            inside = path.relative_to(source) if path.is_relative_to(source) else path
            self._names[path] = inside.as_posix() if inside.parts else path.name

    def name(self, path: Path, row: Row) -> str:
        """Return the id of a row of a table."""
        if len(self._names) < 2 and str(row.line) not in self._taken:
            return str(row.line)
        found = f"{self._names[path]}:{row.line}"
        while found in self._taken:
            found += "#"
        return found

    @cached_property
    def _taken(self) -> set[str]:
        """The ids of all rows that are numbers, or begin with a table's name.

        This reads the tables a second time.
        """
        rows = (row for path in self._names for row in read_rows(path, COLUMNS))
        given = (row_id for row in rows if (row_id := _given_id(row)))
        starts = tuple(f"{name}:" for name in self._names.values())
        return {i for i in given if i.isdecimal() or i.startswith(starts)}


def _given_id(row: Row) -> str | None:
    """Return the id of a row; None if it is neither text nor a whole number."""
    value = row.fields.get("id")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _clean(value).strip() or None if isinstance(value, str) else None


def _clean(text: str) -> str:
    """Return text that can be written: half of a cut emoji becomes a replacement character."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _is_same(path: Path, answers: Path | None) -> bool:
    """Whether a file is that of the answers, or one that a run keeps beside it."""
    if answers is None or path.resolve().parent != answers.resolve().parent:
        return False
    return path.name == answers.name or path.name.startswith(f"{answers.name}.")


def _list_pictures(source: Path, answers: Path | None) -> QuerySource:
    """List a folder and those in it, by the content of each file; hidden files do not count."""
    found = QuerySource(source)
    for folder in walk(source):
        linked = [path for path, _ in folder.problems if path.is_file()]  # a person's own links
        found.problems.extend(row for row in folder.problems if row[0] not in linked)
        for path in sorted([*linked, *(folder.path / name for name in folder.names)]):
            if _is_same(path, answers):
                continue
            if is_picture_file(path):
                found.pictures.append(path)
            else:
                found.others.append(show_path(path.relative_to(source)))
    return found


def _make_row_query(row: Mapping[str, Any], root: Path) -> Query:
    """Return the query of a row; a path of a picture is absolute or begins at the root."""
    given, caption, name = row.get("id"), row.get("caption") or "", row.get("image")
    seeds = row.get("seeds") or []
    listed = seeds.replace(",", " ").split() if isinstance(seeds, str) else seeds
    if not isinstance(caption, str) or not isinstance(listed, list):
        raise InputError("found a caption or seeds of another type, expected text and a list")
    if isinstance(given, bool | list | dict):
        raise InputError(f"found {kind(given)} as id, expected text or a number")
    if len(caption) > MAX_CAPTION:
        found = f"a caption of {len(caption):,} characters"
        raise InputError(f"found {found}, expected {MAX_CAPTION:,} at most")
    image = root / str(name) if name else None
    try:
        is_missing = image is not None and not image.is_file()
    except (OSError, ValueError):
        is_missing = True
    if is_missing:
        raise InputError(f"image {str(name)[:300]!r}: found no such picture in {root}")
    query = make_query(image, _clean(caption), [_clean(str(seed)) for seed in listed])
    if len(query.seeds) > MAX_SEEDS:
        found = f"{len(query.seeds):,} seeds and hashtags in the caption"
        raise InputError(f"found {found}, expected {MAX_SEEDS} at most")
    return query
