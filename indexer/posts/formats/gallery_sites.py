"""Reads where gallery-dl stores the fields of each site, from `data/gallery_sites.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from hashlens.indexer.config import data_path
from hashlens.indexer.errors import ConfigError
from hashlens.indexer.posts.formats.files import within

Place = tuple[str, ...]  # `a.b` of the file is ("a", "b")

_PLACES = ("title", "caption", "author", "id", "taken_at", "tags", "has")
_OTHER = "other"  # the table for unknown sites


@dataclass(frozen=True, slots=True)
class Site:
    """The places of fields in posts of some sites: see the head of the file."""

    name: str
    caption: tuple[Place, ...]
    author: tuple[Place, ...]
    id: tuple[Place, ...]
    title: tuple[Place, ...] = ()
    taken_at: tuple[Place, ...] = (("date",),)
    tags: tuple[Place, ...] = ()
    has: tuple[Place, ...] = ()
    categories: frozenset[str] = frozenset()
    where: tuple[tuple[str, str], ...] = ()
    listed_tags: Literal["always", "untagged", "never"] = "never"
    html: bool = False
    closed_hashtags: bool = False
    plain_ids: bool = False

    @property
    def is_known(self) -> bool:
        """Whether the table is for a named site."""
        return self.name != _OTHER

    def holds(self, value: Mapping[str, Any]) -> bool:
        """Whether a post meets the conditions of `where`."""
        return all(part in str(value.get(name)) for name, part in self.where)


def find_site(value: Mapping[str, Any]) -> Site:
    """Return the table for a post, by its site's name or else by its fields.

    Raises:
        ConfigError: the file of sites is malformed.
    """
    names = {str(value.get(key)).lower() for key in ("category", "basecategory")}
    *tables, other = sites()
    for site in tables:
        if not site.categories.isdisjoint(names) and site.holds(value):
            return site
    for site in tables:
        if site.has and all(within(value, *place) not in (None, "") for place in site.has):
            return site
    return other


def values(value: Mapping[str, Any], places: tuple[Place, ...]) -> Iterator[tuple[Any, Place]]:
    """Yield the values at places that are not empty, with their places."""
    for place in places:
        if (found := within(value, *place)) not in (None, "", [], {}):
            yield found, place


@cache
def sites() -> tuple[Site, ...]:
    """Return all tables in the order of the file; the last is for unknown sites.

    Raises:
        ConfigError: the file names an unknown field, lacks one, or has no table for other sites.
    """
    tables = tomllib.loads(data_path("gallery_sites.toml").read_text(encoding="utf-8"))
    found = []
    for name, fields in tables.items():
        for key in _PLACES:
            if key in fields:
                fields[key] = tuple(tuple(place.split(".")) for place in fields[key])
        fields["categories"] = frozenset(fields.get("categories", (name,)))
        fields["where"] = tuple(fields.get("where", {}).items())
        try:
            found.append(Site(name, **fields))
        except TypeError as error:
            raise ConfigError(
                f"gallery_sites.toml, [{name}]: {error}; see the file's head"
            ) from error
    if not found or found[-1].is_known:
        raise ConfigError(
            f"gallery_sites.toml: found no [{_OTHER}] at the end, which must be there"
        )
    return tuple(found)
