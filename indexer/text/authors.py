"""Spellings of one author's name, which count as one person."""

from __future__ import annotations

import unicodedata


def fold_author(author: str) -> str:
    """Return the name without a leading @, case folded: account names ignore both."""
    name = unicodedata.normalize("NFKC", author).strip()
    return (name.removeprefix("@").strip() or name).casefold()
