"""Bytes of picture files before a decoder sees them: scans of a JPEG, chunks of a PNG."""

from __future__ import annotations

import re
import zlib

MAX_SCANS = 100  # of a progressive JPEG; encoders write some ten
MAX_SCANNED_PIXELS = 1_000_000_000  # pixels times scans: ten scans of the largest pictures
_MAX_TURNING = 1 << 20  # bytes of a text that may tell which side is up

_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")  # restart markers belong to a scan's data
_SCAN, _END, _LONELY = 0xDA, 0xD9, (0x01, 0xD8)  # the last have no length behind them

_SIGNATURE = 8  # bytes before a PNG's first chunk
_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"eXIf", b"IEND"})
_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_TURNING = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")  # texts of EXIF data


def count_scans(jpeg: bytes) -> int:
    """Count the scans of the first picture of a JPEG file, up to `MAX_SCANS + 1`.

    Each scan of a progressive JPEG goes over all pixels again, however few bytes it has.
    """
    scans, place = 0, 2
    while scans <= MAX_SCANS and (found := _MARKER.search(jpeg, place)):
        marker, place = found[1][0], found.end()
        if marker == _END:
            break
        if marker not in _LONELY:
            scans += marker == _SCAN
            place += max(2, int.from_bytes(jpeg[place : place + 2]))
    return scans


def pixels_of_png(png: bytes) -> bytes:
    """A PNG file without the chunks that no pixel depends on, such as texts and profiles.

    Sound files hold megabytes of these, which Pillow would refuse the whole picture for.
    """
    kept, place = [png[:_SIGNATURE]], _SIGNATURE
    while place + 8 <= len(png):
        kind, end = png[place + 4 : place + 8], place + 12 + int.from_bytes(png[place : place + 4])
        if kind in _CHUNKS or (kind in _TEXTS and _is_turning(kind, png[place + 8 : end - 4])):
            kept.append(png[place:end])
        if kind == b"IEND":
            break
        place = end
    return b"".join(kept)


def _is_turning(kind: bytes, text: bytes) -> bool:
    """Whether a text chunk may tell which side of the picture is up, and is short unpacked."""
    if len(text) > _MAX_TURNING or not text.startswith(_TURNING):
        return False
    _, _, value = text.partition(b"\0")
    if kind == b"tEXt":
        return True
    if kind == b"iTXt":
        return value[:1] == b"\0"  # not compressed
    try:
        unpacking = zlib.decompressobj()
        unpacking.decompress(value[1:], _MAX_TURNING)
    except zlib.error:
        return False
    return not unpacking.unconsumed_tail
