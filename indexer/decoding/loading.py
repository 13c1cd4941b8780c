"""Pictures from files, upright and RGB, behind a gate that hostile files do not pass.

Pillow and NumPy are imported inside functions: a query without a picture never waits for the
one, and a process that decodes seldom needs the other.
"""

from __future__ import annotations

import hashlib
import math
import stat
from array import array
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hashlens.indexer.decoding.file_bytes import (
    MAX_SCANNED_PIXELS,
    MAX_SCANS,
    count_scans,
    pixels_of_png,
)
from hashlens.indexer.errors import ImageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image, Resampling
    from PIL.ImageFile import ImageFile

    Picture = Image

MAX_BYTES = 25_000_000
MAX_DECODED_BYTES = 600_000_000  # memory that decoding takes, about
MAX_ASPECT = 100
LARGE_BYTES = 300_000_000  # decoded; such a picture is decoded while no other large one is
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")  # JPEG includes MPO, its first
# What files are usually called; content decides what they are.
ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".avif", ".heic", ".heif", ".hif", ".jxl"),
)

_ORIENTATION, _BITS = 0x0112, 0x0102  # tags of EXIF and TIFF
_HEAD = 256  # bytes that tell what a file is
_STRIP = 1 << 20  # pixels that are converted at a time
_SHRUNK = 8  # most that a JPEG is scaled down by while it is decoded
_JPEG_END = b"\xff\xd9"
_NO_JPEG_END = bytes((91 * n + 214) % 251 for n in range(256)) + _JPEG_END  # data, then the end

# Formats that another package brings to Pillow: that package, and its name for the format.
_BROUGHT = {"HEIC": ("pillow_heif", "HEIF"), "JPEG XL": ("pillow_jxl", "JXL")}
_EXTRA = 'pip install "hashlens[heif]"'
# Bytes a pixel that a decoder holds beside the picture itself.
_BESIDE = {"WEBP": 14, "AVIF": 6, "HEIF": 6, "JXL": 4}
_NARROW = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}  # bytes a pixel, else 4

# What files are that are taken for pictures: where the mark stands, the mark, its name.
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
_PICTURES = frozenset({*FORMATS, *_BROUGHT, "JPEG 2000"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_SHARED_BRANDS = frozenset({b"mif1", b"msf1"})  # of HEIC and AVIF


def picture_format(head: bytes) -> str | None:
    """The format of a picture by a file's first bytes, read here or not; None for all else.

    It is one of `FORMATS`, `HEIC`, `JPEG XL` or `JPEG 2000`.
    """
    name = _mark_of(head)
    return name if name in _PICTURES else None


def format_of(head: bytes) -> str | None:
    """The format that a file has by its first bytes where it is read here; None for any other."""
    name = picture_format(head)
    return name if name in FORMATS or (name in _BROUGHT and _is_brought(name)) else None


def is_picture_file(path: Path) -> bool:
    """Whether a file is a picture by its first bytes, or at least called one."""
    if path.suffix.lower() in ENDINGS:
        return True
    try:
        with path.open("rb") as file:
            return picture_format(file.read(_HEAD)) is not None
    except (OSError, ValueError):
        return False


def misreading(head: bytes, suffix: str = "") -> str:
    """What to say of a file that is not read here, by its first bytes and its name's ending."""
    name = _mark_of(head)
    if name is None:
        return f"not a picture, expected {', '.join(FORMATS)}"
    named = f" named {suffix}" if suffix else ""
    if name not in _PICTURES:
        return f"{name}{named}: expected {', '.join(FORMATS)}"
    if format_of(head):
        return f"{name} picture, damaged or truncated: fetch it again"
    advice = f", or {_EXTRA}" if name in _BROUGHT else ""
    return f"{name} picture{named}: convert it to JPEG{advice}"


def _mark_of(head: bytes) -> str | None:
    if head[4:8] == b"ftyp":
        return _brand_of(head)
    names = (name for place, mark, name in _MARKS if head.startswith(mark, place))
    return next(names, None)


def _brand_of(head: bytes) -> str:
    """What a file of ISO's media format is, by its brands."""
    brand, size = head[8:12], min(len(head), int.from_bytes(head[:4]))
    others = {head[place : place + 4] for place in range(16, size, 4)}
    if brand in _AVIF_BRANDS or (brand in _SHARED_BRANDS and others & _AVIF_BRANDS):
        return "AVIF"
    return "HEIC" if brand.startswith(b"he") or brand in _SHARED_BRANDS else "video"


@cache
def _is_brought(name: str) -> bool:
    """Whether the package that reads a format is installed."""
    return find_spec(_BROUGHT[name][0]) is not None


def open_image(path: Path, *, side: int | None = None) -> Picture:
    """The first picture of a file: RGB, turned as its EXIF says, transparent parts on white.

    What a file holds decides its format; its name does not. This process decodes it, so it may
    take long: `decoders` has other processes do that.

    Args:
        path: a JPEG, PNG, WEBP, GIF, BMP, TIFF or AVIF file; HEIC or JPEG XL with their packages.
        side: pixels that the shorter side of the result needs. Where given, a JPEG may come
            out smaller than it is, no side below `side`, which decodes large photos faster.

    Raises:
        ImageError: the file cannot be read, is no such picture, is damaged or cut short, or is
            larger than `MAX_BYTES`, `MAX_DECODED_BYTES` or `MAX_ASPECT` allow.
    """
    with opened(path) as file:
        try:
            return decoded(file.read(MAX_BYTES), side=side, suffix=path.suffix)
        except ImageError as error:
            raise ImageError(f"{path}: {error}") from error


def decoded(
    content: bytes,
    *,
    side: int | None = None,
    suffix: str = "",
    wait: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Picture:
    """The picture in a file's content, as `open_image` gives it.

    Args:
        content: all bytes of the file.
        side: as in `open_image`.
        suffix: ending of the file's name, for messages.
        wait: gives what is entered while a large picture is decoded.

    Raises:
        ImageError: as `open_image`, but for the file's name.
    """
    form = format_of(content[:_HEAD])
    with _identified(content, form, suffix) as picture:
        _check_shape(*picture.size)
        _check_scans(content, math.prod(picture.size))
        try:
            whole = picture.size
            if side:
                picture.draft(None, (side, side))
            size = _decoded_bytes(picture, whole)
            _check_decoded(whole, size)
            with wait() if size > LARGE_BYTES else nullcontext():
                seen = _loaded(picture, content, side)
                return _upright(_rgb(seen), _orientation(picture))
        except ImageError:
            raise
        # Decoders meet damaged files with errors of almost every class.
        except Exception as error:
            raise ImageError(f"{form} picture, {_damage(error)}") from error


def cropped(
    picture: Picture, *, shorter: int, crop: int, bicubic: bool = False, squash: bool = False
) -> Picture:
    """The central `crop` x `crop` pixels of a picture whose shorter side is made `shorter`.

    Sizes are rounded as in torchvision's `Resize` and `CenterCrop`, and the pixels are theirs.
    Where `squash`, both sides are made `shorter`.
    """
    from PIL.Image import Resampling

    least = min(picture.size)
    sizes = [shorter if squash else int(shorter * side / least) for side in picture.size]
    kernel = Resampling.BICUBIC if bicubic else Resampling.BILINEAR
    # Across and then down, as Pillow resizes at once all but tall pictures.
    if picture.height > 2 * picture.width:
        picture = picture.resize((sizes[0], sizes[1]), kernel)
    for axis, size in enumerate(sizes):
        picture = _along(picture, axis, size, crop, kernel)
    return picture


def _along(picture: Picture, axis: int, size: int, crop: int, kernel: Resampling) -> Picture:
    """One axis of a picture made `size` pixels, of which the central `crop` are kept."""
    side, first = picture.size[axis], round((size - crop) / 2)
    kept = (first, first + crop)
    # What is cut off need not be resized, where float32, Pillow's, holds the places exactly.
    if all(array("f", [place * side / size])[0] * size == place * side for place in kept):
        box = _box(picture, axis, kept[0] * side / size, kept[1] * side / size)
        return picture.resize(_with(picture.size, axis, crop), kernel, box)
    picture = picture.resize(_with(picture.size, axis, size), kernel)
    return picture.crop(_box(picture, axis, *kept))


def _with(size: tuple[int, int], axis: int, length: int) -> tuple[int, int]:
    return (size[0], length) if axis else (length, size[1])


def _box(
    picture: Picture, axis: int, start: float, end: float
) -> tuple[float, float, float, float]:
    """A picture's (left, top, right, bottom), from `start` to `end` along one axis."""
    width, height = picture.size
    return (0, start, width, end) if axis else (start, 0, end, height)


def thumbnail(picture: Picture, side: int) -> bytes:
    """A picture as a small JPEG, no side above `side` pixels, without what EXIF tells."""
    small = BytesIO()
    picture.info = {}  # Pillow writes a comment that it finds there
    picture.thumbnail((side, side))
    picture.save(small, "JPEG", quality=80)
    return small.getvalue()


def is_same(path: Path, digest: str | None) -> bool:
    """Whether a file is still the picture with this sha256; False where it cannot be read.

    An index may be a stranger's: so the paths in it show no file that its maker did not have.
    """
    try:
        with opened(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except (ImageError, OSError):
        return False


def save_jpeg(pixels: NDArray[np.uint8], path: Path) -> None:
    """Write RGB pixels (height, width, 3) as a JPEG file."""
    from PIL import Image

    Image.fromarray(pixels).save(path, "JPEG", quality=90)


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """A picture file, open; not decoded yet.

    Raises:
        ImageError: it cannot be read, is no file, empty or larger than `MAX_BYTES`.
    """
    try:
        found = path.stat()
        _check_file(path, found.st_mode, found.st_size)
        file = path.open("rb")
    except PermissionError as error:
        raise ImageError(f"{path}: no permission to read it, allow it or leave it out") from error
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file, check its name") from error
    except (OSError, ValueError) as error:
        raise ImageError(f"{path}: cannot be read ({error}), check its name") from error
    with file:
        yield file


def _check_file(path: Path, mode: int, size: int) -> None:
    if stat.S_ISDIR(mode):
        raise ImageError(f"{path}: a folder, expected a picture file")
    # A pipe or device would be waited for, perhaps forever.
    if not stat.S_ISREG(mode):
        raise ImageError(f"{path}: a pipe or device, expected a picture file")
    if not size:
        raise ImageError(f"{path}: empty file, expected a picture: fetch it again")
    if size > MAX_BYTES:
        found, most = f"{size / 1e6:.1f} MB", f"{MAX_BYTES / 1e6:.0f}"
        raise ImageError(f"{path}: {found}, at most {most}: save it smaller")


def _identified(content: bytes, form: str | None, suffix: str) -> ImageFile:
    """The picture in a file's content, its pixels still undecoded."""
    from PIL import Image

    if form is None:
        raise ImageError(misreading(content[:_HEAD], suffix))
    prepare_pillow()
    name = _BROUGHT[form][1] if form in _BROUGHT else form
    try:
        return Image.open(
            BytesIO(pixels_of_png(content) if form == "PNG" else content), formats=[name]
        )
    except MemoryError as error:
        raise ImageError(f"{form} picture, {_damage(error)}") from error
    except Exception as error:
        raise ImageError(misreading(content[:_HEAD], suffix)) from error


@cache
def prepare_pillow() -> None:
    """Import the plugins of all formats; Pillow's own look for them is not safe among threads."""
    from PIL import AvifImagePlugin, Image

    Image.MAX_IMAGE_PIXELS = None  # decoded bytes are what we bound
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    for name in ("Jpeg", "Mpo", "Png", "WebP", "Gif", "Bmp", "Tiff"):
        import_module(f"PIL.{name}ImagePlugin")
    if _is_brought("HEIC"):
        import_module("pillow_heif").register_heif_opener(thumbnails=False, decode_threads=1)
    if _is_brought("JPEG XL"):
        plugin: Any = import_module("pillow_jxl.JpegXLImagePlugin")
        plugin.DECODE_THREADS = 0


def _check_shape(width: int, height: int) -> None:
    found = f"{width} x {height} pixels"
    if not width or not height:
        raise ImageError(f"{found}, expected at least 1 a side: fetch it again")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(f"{found}, at most {MAX_ASPECT} times as long as wide: crop it")


def _check_scans(content: bytes, pixels: int) -> None:
    """Refuse a JPEG whose scans would take long: each goes over all pixels again.

    Raises:
        ImageError: there are more scans than its size allows.
    """
    if not content.startswith(b"\xff\xd8"):
        return
    most = min(MAX_SCANS, MAX_SCANNED_PIXELS // pixels)
    if (found := count_scans(content)) > most:
        raise ImageError(
            f"JPEG picture of {found} scans or more, at most {most} at this size, as each takes "
            "as long as a picture: save it as a plain JPEG"
        )


def _decoded_bytes(picture: ImageFile, whole: tuple[int, int]) -> int:
    """About how much memory decoding takes, and bringing the picture to RGB.

    Args:
        picture: undecoded, drafted or not.
        whole: its width and height before it was drafted.
    """
    held = _NARROW.get(picture.mode, 4) + _BESIDE.get(picture.format or "", 0)
    if picture.format == "TIFF":  # a strip may be the whole picture
        tags: Any = getattr(picture, "tag_v2", {})
        held += math.ceil(sum(tags.get(_BITS, (8,))) / 8)
    made = 0 if picture.mode == "RGB" else 4
    # All coefficients of a progressive JPEG stay, 2 bytes each, of up to three components.
    kept = 6 * math.prod(whole) if picture.info.get("progressive") else 0
    return math.prod(picture.size) * (held + made) + kept


def _check_decoded(size: tuple[int, int], found: int) -> None:
    if found > MAX_DECODED_BYTES:
        pixels, most = f"{math.prod(size) / 1e6:.0f} megapixels", f"{MAX_DECODED_BYTES / 1e6:.0f}"
        raise ImageError(
            f"{pixels}, {found / 1e6:,.0f} MB when decoded, at most {most} MB: scale it down"
        )


def _loaded(picture: ImageFile, content: bytes, side: int | None) -> ImageFile:
    """The picture with its pixels; a JPEG may lack its end marker, but no pixel.

    Where it lacks the marker, it is whole if what stands in its place changes no pixel.
    """
    try:
        picture.load()
        return picture
    except OSError as error:
        if picture.format not in ("JPEG", "MPO") or "truncated" not in str(error):
            raise
        begun = content.rstrip(b"\xff")
        ended, other = (_ended(begun + end, side) for end in (_JPEG_END, _NO_JPEG_END))
        if ended.tobytes() != other.tobytes():
            raise
        return ended


def _ended(content: bytes, side: int | None) -> ImageFile:
    picture = _identified(content, "JPEG", "")
    if side:
        picture.draft(None, (side, side))
    picture.load()
    return picture


def _damage(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "too large for the memory at hand: scale it down"
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    damage = "truncated" if "truncated" in reason.lower() else "damaged"
    return f"{damage} ({reason}): fetch it again"


def _rgb(picture: Picture) -> Picture:
    """A decoded picture of any mode as RGB."""
    from PIL import Image

    if picture.mode.startswith("I;16"):
        # 257 maps 65535 to 255; Pillow's own conversion would clip at 255.
        return _greys(picture, lambda strip: (strip.astype("u4") + 128) // 257).convert("RGB")
    if picture.mode in ("I", "F"):
        return _stretched(picture).convert("RGB")
    if picture.has_transparency_data:
        seen = picture if picture.mode == "RGBA" else picture.convert("RGBA")
        white = Image.new("RGB", seen.size, "white")
        white.paste(seen, mask=seen)
        return white
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _greys(picture: Picture, grey_of: Callable[[NDArray[Any]], NDArray[Any]]) -> Picture:
    """A picture in 8-bit grey, made of its numbers strip by strip."""
    from PIL import Image

    greys = Image.new("L", picture.size)
    for top, strip in _strips(picture):
        greys.paste(Image.fromarray(grey_of(strip).astype("u1")), (0, top))
    return greys


def _strips(picture: Picture) -> Iterator[tuple[int, NDArray[Any]]]:
    """Numbers of a picture, some rows at a time, and where these begin."""
    import numpy as np

    rows = max(1, _STRIP // picture.width)
    for top in range(0, picture.height, rows):
        box = (0, top, picture.width, min(top + rows, picture.height))
        yield top, np.asarray(picture.crop(box))


def _stretched(picture: Picture) -> Picture:
    """Greys without a known white, from darkest to brightest, in 8 bits."""
    import numpy as np

    def finite(strip: NDArray[Any]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = np.nan_to_num(strip.astype(float), posinf=0, neginf=0)
        return found

    ends = [(numbers.min(), numbers.max()) for _, s in _strips(picture) for numbers in [finite(s)]]
    least, most = min(low for low, _ in ends), max(high for _, high in ends)
    span = most - least or 1.0
    return _greys(picture, lambda strip: np.rint((finite(strip) - least) / span * 255))


def _orientation(picture: Picture) -> object:
    try:
        return picture.getexif().get(_ORIENTATION)
    # A photo with broken EXIF is still a photo.
    except Exception:
        return None


def _upright(picture: Picture, orientation: object) -> Picture:
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    turn = turns.get(orientation) if isinstance(orientation, int) else None
    return picture if turn is None else picture.transpose(turn)
