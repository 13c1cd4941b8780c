"""Spellings of one author's name, which count as one person."""

from __future__ import annotations

import unicodedata


def fold_author(author: str) -> str:
    """The name without a leading @, in one case: networks know neither in account names."""
    name = unicodedata.normalize("NFKC", author).strip()
    return (name.removeprefix("@").strip() or name).casefold()
