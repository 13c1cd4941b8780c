"""Opens pictures from files, upright and RGB, and refuses hostile ones.

Pillow is imported inside functions: a query without a picture does not need it.
"""

from __future__ import annotations

import hashlib
import math
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from importlib import import_module
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hashlens.indexer.decoding.file_bytes import (
    MAX_SCANNED_PIXELS,
    MAX_SCANS,
    count_scans,
    pixels_of_png,
)
from hashlens.indexer.decoding.file_formats import (
    HEAD_BYTES,
    PLUGINS,
    explain_unreadable,
    format_of,
    has_plugin,
)
from hashlens.indexer.decoding.pixels import orientation_of, to_rgb, turn_upright
from hashlens.indexer.errors import ImageError

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

    Picture = Image

MAX_BYTES = 25_000_000
MAX_DECODED_BYTES = 600_000_000  # approximate memory for decoding
MAX_ASPECT = 100
LARGE_BYTES = 300_000_000  # decoded; only one such picture is decoded at a time
_BITS = 0x0102  # tag of TIFF
_JPEG_END = b"\xff\xd9"
_NO_JPEG_END = bytes((91 * n + 214) % 251 for n in range(256)) + _JPEG_END  # data, then the end

# Bytes a pixel that a decoder needs beside the picture itself.
_BESIDE = {"WEBP": 14, "AVIF": 6, "HEIF": 6, "JXL": 4}
_NARROW = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}  # bytes a pixel, else 4


def open_image(path: Path, *, side: int | None = None) -> Picture:
    """Return the first picture of a file: RGB, upright by EXIF, transparent parts on white.

    The content decides about the format, not the name. Decoding happens in this process and may
    take long; `decoder_pool` decodes in others.

    Args:
        path: a JPEG, PNG, WEBP, GIF, BMP, TIFF or AVIF file; HEIC or JPEG XL with their packages.
        side: pixels that the shorter side needs. A JPEG may then be scaled down while it is
            decoded, which is faster, but no side falls below `side`.

    Raises:
        ImageError: the file cannot be read, is no such picture, is damaged or cut short, or is
            larger than `MAX_BYTES`, `MAX_DECODED_BYTES` or `MAX_ASPECT` allow.
    """
    with open_picture_file(path) as file:
        try:
            return decode_image(file.read(MAX_BYTES), side=side, suffix=path.suffix)
        except ImageError as error:
            raise ImageError(f"{path}: {error}") from error


def decode_image(
    content: bytes,
    *,
    side: int | None = None,
    suffix: str = "",
    wait: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Picture:
    """Return the picture in a file's content, as `open_image` does.

    Args:
        content: all bytes of the file.
        side: as in `open_image`.
        suffix: ending of the file's name, for messages.
        wait: returns a context that is entered while a large picture is decoded.

    Raises:
        ImageError: as `open_image`, without the file's name.
    """
    form = format_of(content[:HEAD_BYTES])
    with _identify(content, form, suffix) as picture:
        check_size(content, *picture.size)
        try:
            whole = picture.size
            if side:
                picture.draft(None, (side, side))
            size = estimate_decoded_bytes(picture, whole)
            if size > MAX_DECODED_BYTES:
                raise ImageError(
                    f"{math.prod(whole) / 1e6:.0f} megapixels, {size / 1e6:,.0f} MB when decoded, "
                    f"at most {MAX_DECODED_BYTES / 1e6:.0f} MB: scale it down"
                )
            with wait() if size > LARGE_BYTES else nullcontext():
                loaded = load_pixels(picture, content, side)
                return turn_upright(to_rgb(loaded), orientation_of(picture))
        except ImageError:
            raise
        # Decoders meet damaged files with errors of almost every class.
        except Exception as error:
            raise ImageError(f"{form} picture, {_damage(error)}") from error


def is_same(path: Path, digest: str | None) -> bool:
    """Whether a file is still the picture with this sha256; False if it cannot be read.

    An index may be a stranger's, so its paths must not show files that its maker did not have.
    """
    try:
        with open_picture_file(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except (ImageError, OSError):
        return False


@contextmanager
def open_picture_file(path: Path) -> Iterator[BufferedReader]:
    """Open a picture file; nothing is decoded yet.

    Raises:
        ImageError: it cannot be read, is no file, empty or larger than `MAX_BYTES`.
    """
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise ImageError(f"{path}: a folder, expected a picture file")
        # Reading a pipe or device could wait for ever.
        if not stat.S_ISREG(found.st_mode):
            raise ImageError(f"{path}: a pipe or device, expected a picture file")
        if not found.st_size:
            raise ImageError(f"{path}: empty file, expected a picture: fetch it again")
        if found.st_size > MAX_BYTES:
            size, most = f"{found.st_size / 1e6:.1f} MB", f"{MAX_BYTES / 1e6:.0f}"
            raise ImageError(f"{path}: {size}, at most {most}: save it smaller")
        file = path.open("rb")
    except PermissionError as error:
        raise ImageError(f"{path}: no permission to read it, allow it or leave it out") from error
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file, check its name") from error
    except (OSError, ValueError) as error:
        raise ImageError(f"{path}: cannot be read ({error}), check its name") from error
    with file:
        yield file


def _identify(content: bytes, form: str | None, suffix: str) -> ImageFile:
    """Return the picture in a file's content with its pixels undecoded."""
    from PIL import Image

    if form is None:
        raise ImageError(explain_unreadable(content[:HEAD_BYTES], suffix))
    prepare_pillow()
    name = PLUGINS[form][1] if form in PLUGINS else form
    try:
        return Image.open(
            BytesIO(pixels_of_png(content) if form == "PNG" else content), formats=[name]
        )
    except MemoryError as error:
        raise ImageError(f"{form} picture, {_damage(error)}") from error
    except Exception as error:
        raise ImageError(explain_unreadable(content[:HEAD_BYTES], suffix)) from error


@cache
def prepare_pillow() -> None:
    """Import the plugins of all formats; Pillow's own import of them is not safe in threads."""
    from PIL import AvifImagePlugin, Image

    Image.MAX_IMAGE_PIXELS = None  # we bound decoded bytes instead
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    for name in ("Jpeg", "Mpo", "Png", "WebP", "Gif", "Bmp", "Tiff"):
        import_module(f"PIL.{name}ImagePlugin")
    if has_plugin("HEIC"):
        import_module("pillow_heif").register_heif_opener(thumbnails=False, decode_threads=1)
    if has_plugin("JPEG XL"):
        plugin: Any = import_module("pillow_jxl.JpegXLImagePlugin")
        plugin.DECODE_THREADS = 0


def check_size(content: bytes, width: int, height: int) -> None:
    """Refuse a picture that is too long, and a JPEG of too many scans.

    Each scan of a JPEG goes over all pixels again.

    Raises:
        ImageError: it is such a picture.
    """
    found = f"{width} x {height} pixels"
    if not width or not height:
        raise ImageError(f"{found}, expected at least 1 a side: fetch it again")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(f"{found}, at most {MAX_ASPECT} times as long as wide: crop it")
    most = min(MAX_SCANS, MAX_SCANNED_PIXELS // (width * height))
    if content.startswith(b"\xff\xd8") and (scans := count_scans(content)) > most:
        raise ImageError(
            f"JPEG picture of {scans} scans or more, at most {most} at this size, as each takes "
            "as long as a picture: save it as a plain JPEG"
        )


def estimate_decoded_bytes(picture: ImageFile, whole: tuple[int, int]) -> int:
    """Estimate the memory for decoding a picture and for converting it to RGB.

    Args:
        picture: undecoded, scaled down or not.
        whole: its width and height before it was scaled down.
    """
    size = _NARROW.get(picture.mode, 4) + _BESIDE.get(picture.format or "", 0)
    if picture.format == "TIFF":  # a strip may be the whole picture
        tags: Any = getattr(picture, "tag_v2", {})
        size += math.ceil(sum(tags.get(_BITS, (8,))) / 8)
    converted = 0 if picture.mode == "RGB" else 4
    # A progressive JPEG needs all coefficients, 2 bytes each, of up to three components.
    coefficients = 6 * math.prod(whole) if picture.info.get("progressive") else 0
    return math.prod(picture.size) * (size + converted) + coefficients


def load_pixels(picture: ImageFile, content: bytes, side: int | None) -> ImageFile:
    """Return the picture with its pixels; a JPEG may lack its end marker, but no pixel.

    A JPEG without the marker is whole if no bytes in place of the marker change a pixel.
    """
    try:
        picture.load()
        return picture
    except OSError as error:
        if picture.format not in ("JPEG", "MPO") or "truncated" not in str(error):
            raise
        pictures = []
        for end in (_JPEG_END, _NO_JPEG_END):
            pictures.append(_identify(content.rstrip(b"\xff") + end, "JPEG", ""))
            if side:
                pictures[-1].draft(None, (side, side))
            pictures[-1].load()
        if pictures[0].tobytes() != pictures[1].tobytes():
            raise
        return pictures[0]


def _damage(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "too large for the memory at hand: scale it down"
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    damage = "truncated" if "truncated" in reason.lower() else "damaged"
    return f"{damage} ({reason}): fetch it again"
