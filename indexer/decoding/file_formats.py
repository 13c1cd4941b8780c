"""Recognises the format of a file by its first bytes."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")  # JPEG includes MPO
# Usual endings of names; the content decides about the format.
ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".avif", ".heic", ".heif", ".hif", ".jxl"),
)
HEAD_BYTES = 256  # of a file that show its format

# Formats of other packages: the package, and Pillow's name for the format.
PLUGINS = {"HEIC": ("pillow_heif", "HEIF"), "JPEG XL": ("pillow_jxl", "JXL")}
_EXTRA = 'pip install "hashlens[heif]"'

# Marks of files that people take for pictures: place, bytes, name.
_MARKS = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG", "PNG"),
    (8, b"WEBP", "WEBP"),
    (0, b"GIF8", "GIF"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (4, b"jP  ", "JPEG 2000"),
    (4, b"JXL ", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\x1aE\xdf\xa3", "video"),
    (0, b"8BPS", "Photoshop file"),
    (0, b"%PDF", "PDF document"),
    (0, b"PK\x03\x04", "ZIP archive"),
    (0, b"<svg", "SVG drawing"),
    (0, b"<?xml", "XML or SVG file"),
    (0, b"<!doctype html", "web page"),
    (0, b"<!DOCTYPE html", "web page"),
    (0, b"<html", "web page"),
    (0, b"BM", "BMP"),
)
_PICTURES = frozenset({*FORMATS, *PLUGINS, "JPEG 2000"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_SHARED_BRANDS = frozenset({b"mif1", b"msf1"})  # of HEIC and AVIF


def picture_format(head: bytes) -> str | None:
    """Return the format of a picture by a file's first bytes; None for other files.

    It is one of `FORMATS`, `HEIC`, `JPEG XL` or `JPEG 2000`, whether or not it can be read here.
    """
    name = _find_format(head)
    return name if name in _PICTURES else None


def format_of(head: bytes) -> str | None:
    """Return the format of a picture that can be read here; None for other files."""
    name = picture_format(head)
    return name if name in FORMATS or (name in PLUGINS and has_plugin(name)) else None


def is_picture_file(path: Path) -> bool:
    """Whether a file is a picture by its first bytes or by its name."""
    if path.suffix.lower() in ENDINGS:
        return True
    try:
        with path.open("rb") as file:
            return picture_format(file.read(HEAD_BYTES)) is not None
    except (OSError, ValueError):
        return False


def explain_unreadable(head: bytes, suffix: str = "") -> str:
    """Return why a file cannot be read, by its first bytes and the ending of its name."""
    name = _find_format(head)
    if name is None:
        return f"not a picture, expected {', '.join(FORMATS)}"
    named = f" named {suffix}" if suffix else ""
    if name not in _PICTURES:
        return f"{name}{named}: expected {', '.join(FORMATS)}"
    if format_of(head):
        return f"{name} picture, damaged or truncated: fetch it again"
    advice = f", or {_EXTRA}" if name in PLUGINS else ""
    return f"{name} picture{named}: convert it to JPEG{advice}"


def _find_format(head: bytes) -> str | None:
    if head[4:8] != b"ftyp":
        names = (name for place, mark, name in _MARKS if head.startswith(mark, place))
        return next(names, None)
    # ISO's media format: the brands show the format.
    brand, size = head[8:12], min(len(head), int.from_bytes(head[:4]))
    others = {head[place : place + 4] for place in range(16, size, 4)}
    if brand in _AVIF_BRANDS or (brand in _SHARED_BRANDS and others & _AVIF_BRANDS):
        return "AVIF"
    return "HEIC" if brand.startswith(b"he") or brand in _SHARED_BRANDS else "video"


@cache
def has_plugin(name: str) -> bool:
    """Whether the package that reads a format is installed."""
    return find_spec(PLUGINS[name][0]) is not None
