"""Hashtags put where the next paste takes them from."""

from __future__ import annotations

from hashlens.indexer.errors import InputError


def copy(text: str) -> None:
    """Put a text on the clipboard.

    Raises:
        InputError: this machine has none that can be reached.
    """
    import pyperclip

    try:
        pyperclip.copy(text)
    except (pyperclip.PyperclipException, OSError) as error:
        raise InputError(
            "--copy: found no clipboard here; on Linux install wl-clipboard or xclip, over ssh "
            "take --plain and copy the line by hand"
        ) from error
