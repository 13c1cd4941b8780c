"""Pictures from files, upright and RGB, behind a gate that hostile files do not pass.

Pillow is imported inside functions, so that a query without a picture never waits for it.
"""

from __future__ import annotations

import hashlib
import math
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from io import BufferedReader, BytesIO
from pathlib import Path
from threading import Lock
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from indexer.errors import ImageError

if TYPE_CHECKING:
    from PIL.Image import Image, Resampling
    from PIL.ImageFile import ImageFile

    Picture = Image

MAX_BYTES = 25_000_000
MAX_PIXELS = 50_000_000
MAX_SIDE = 16_384  # pixels
MAX_ASPECT = 100
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")  # JPEG includes MPO, its first picture
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")  # of their files

_LARGE = 12_000_000  # pixels to decode: such a picture takes up to 12 bytes for each
_alone = Lock()  # held by a large picture, so that threads do not add up their memory

_ORIENTATION = 0x0112  # EXIF tag
_HEAD = 256  # bytes that tell what a file is

# What files are that are taken for pictures: where the mark stands, the mark, its name.
_MARKS = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG", "PNG"),
    (8, b"WEBP", "WEBP"),
    (0, b"GIF8", "GIF"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (4, b"ftypavif", "AVIF picture"),
    (4, b"ftypavis", "AVIF picture"),
    (4, b"ftyphe", "HEIC picture"),
    (4, b"ftypmif1", "HEIC picture"),
    (4, b"ftypmsf1", "HEIC picture"),
    (4, b"ftyp", "video"),
    (0, b"\x1aE\xdf\xa3", "video"),
    (4, b"jP  ", "JPEG 2000 picture"),
    (4, b"JXL ", "JPEG XL picture"),
    (0, b"\xff\x0a", "JPEG XL picture"),
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


def open_image(path: Path, *, side: int | None = None) -> Picture:
    """The first picture of a file: RGB, turned as its EXIF says, transparent parts on white.

    What a file holds decides its format; its name does not.

    Args:
        path: a JPEG, PNG, WEBP, GIF, BMP or TIFF file.
        side: pixels that the shorter side of the result needs. Where given, a JPEG may come
            out smaller than it is, no side below `side`, which decodes large photos faster.

    Raises:
        ImageError: the file cannot be read, is no such picture, is damaged or cut short, or is
            larger than `MAX_BYTES`, `MAX_PIXELS`, `MAX_SIDE` or `MAX_ASPECT` allow.
    """
    with _opened(path) as file, _identified(path, file) as picture:
        _check_size(path, *picture.size)
        try:
            if side:
                picture.draft(None, (side, side))
            with _alone if math.prod(picture.size) > _LARGE else nullcontext():
                picture.load()
                return _upright(_rgb(picture), _orientation(picture))
        # Decoders meet damaged files with errors of almost every class.
        except Exception as error:
            raise ImageError(f"{path}: {picture.format} picture, {_damage(error)}") from error


def format_of(head: bytes) -> str | None:
    """The format, one of `FORMATS`, that a file has by its first bytes; None for any other."""
    name = _mark_of(head)
    return name if name in FORMATS else None


def picture_format(head: bytes) -> str | None:
    """The format of a picture by a file's first bytes, read here or not; None for all else."""
    name = _mark_of(head)
    return name if name and (name in FORMATS or name.endswith("picture")) else None


def is_picture_file(path: Path) -> bool:
    """Whether a file is a picture by its first bytes, or at least called one."""
    if path.suffix.lower() in ENDINGS:
        return True
    try:
        with path.open("rb") as file:
            return picture_format(file.read(_HEAD)) is not None
    except (OSError, ValueError):
        return False


def _mark_of(head: bytes) -> str | None:
    names = (name for place, mark, name in _MARKS if head.startswith(mark, place))
    return next(names, None)


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
    if all(float(np.float32(place * side / size)) * size == place * side for place in kept):
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


def thumbnail(path: Path, side: int) -> bytes:
    """A picture file as a small JPEG, no side above `side` pixels, without what EXIF tells.

    Raises:
        ImageError: as `open_image` does.
    """
    picture, small = open_image(path, side=side), BytesIO()
    picture.thumbnail((side, side))
    picture.save(small, "JPEG", quality=80)
    return small.getvalue()


def is_same(path: Path, digest: str | None) -> bool:
    """Whether a file is still the picture with this sha256; False where it cannot be read.

    An index may be a stranger's: so the paths in it show no file that its maker did not have.
    """
    try:
        with _opened(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except (ImageError, OSError):
        return False


def save_jpeg(pixels: NDArray[np.uint8], path: Path) -> None:
    """Write RGB pixels (height, width, 3) as a JPEG file."""
    from PIL import Image

    Image.fromarray(pixels).save(path, "JPEG", quality=90)


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
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


def _identified(path: Path, file: IO[bytes]) -> ImageFile:
    """The picture in a file, its pixels still undecoded."""
    from PIL import Image

    _register_formats()
    # As an error, a bomb is refused by our message alone; `catch_warnings` is not for threads.
    warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
    head = file.read(_HEAD)
    try:
        return Image.open(file, formats=FORMATS)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise _bomb(path, error) from error
    except Exception as error:
        raise ImageError(f"{path}: {_misread(path, head)}") from error


def _register_formats() -> None:
    """Import the plugins of `FORMATS`; Pillow's own look for them is not safe among threads."""
    for name in ("Jpeg", "Mpo", "Png", "WebP", "Gif", "Bmp", "Tiff"):
        import_module(f"PIL.{name}ImagePlugin")


def _bomb(path: Path, error: Exception) -> ImageError:
    pixels = re.search(r"\d+", str(error))
    return _too_many(path, int(pixels.group()) if pixels else 2 * MAX_PIXELS)


def _too_many(path: Path, pixels: int) -> ImageError:
    found, most = f"{pixels / 1e6:.0f} megapixels", f"{MAX_PIXELS / 1e6:.0f}"
    return ImageError(f"{path}: {found}, at most {most}: scale it down")


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise _too_many(path, width * height)
    found = f"{path}: {width} x {height} pixels"
    if max(width, height) > MAX_SIDE:
        raise ImageError(f"{found}, at most {MAX_SIDE} a side: scale it down")
    if not width or not height:
        raise ImageError(f"{found}, expected at least 1 a side: fetch it again")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(f"{found}, at most {MAX_ASPECT} times as long as wide: crop it")


def _misread(path: Path, head: bytes) -> str:
    """What to say of a file that no allowed format recognises."""
    name = _mark_of(head)
    if name is None:
        return f"not a picture, expected {', '.join(FORMATS)}"
    if name in FORMATS:
        return f"{name} picture, damaged or truncated: fetch it again"
    advice = "convert it to JPEG" if name.endswith("picture") else f"expected {', '.join(FORMATS)}"
    named = f" named {path.suffix}" if path.suffix else ""
    return f"{name}{named}: {advice}"


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
        grey = (np.asarray(picture).astype(np.uint32) + 128) // 257
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if picture.mode in ("I", "F"):
        return Image.fromarray(_stretched(np.asarray(picture, np.float64))).convert("RGB")
    if picture.has_transparency_data:
        seen = picture if picture.mode == "RGBA" else picture.convert("RGBA")
        white = Image.new("RGB", seen.size, "white")
        white.paste(seen, mask=seen)
        return white
    return picture.convert("RGB")


def _stretched(grey: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Greys without a known white, from darkest to brightest, as uint8 of the same shape."""
    grey = np.nan_to_num(grey, posinf=0, neginf=0)
    span = grey.max() - grey.min() or 1.0
    scaled: NDArray[np.uint8] = np.rint((grey - grey.min()) / span * 255).astype(np.uint8)
    return scaled


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
