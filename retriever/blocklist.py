"""Hashtags that are never recommended, from `data/blocklist.toml`."""

from __future__ import annotations

import tomllib
from functools import cache

from indexer.config import data_path


@cache
def blocked() -> frozenset[str]:
    """Keys of all blocked hashtags."""
    lists = tomllib.loads(data_path("blocklist.toml").read_text(encoding="utf-8"))
    return frozenset(key for keys in lists.values() for key in keys)
