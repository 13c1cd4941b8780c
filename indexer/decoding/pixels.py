"""Converts decoded pictures: to RGB, upright, cropped, or to small JPEGs.

Pillow and NumPy are imported inside functions: a query without a picture needs neither.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    Picture = Image

_ORIENTATION = 0x0112  # tag of EXIF
_STRIP = 1 << 20  # pixels that are converted at a time


def to_rgb(picture: Picture) -> Picture:
    """Return a decoded picture of any mode as RGB, transparent parts on white."""
    from PIL import Image

    if picture.mode.startswith("I;16"):
        # 257 maps 65535 to 255; Pillow's own conversion would clip at 255.
        return _make_greys(picture, lambda strip: (strip.astype("u4") + 128) // 257).convert("RGB")
    if picture.mode in ("I", "F"):
        return _stretch(picture).convert("RGB")
    if picture.has_transparency_data:
        seen = picture if picture.mode == "RGBA" else picture.convert("RGBA")
        white = Image.new("RGB", seen.size, "white")
        white.paste(seen, mask=seen)
        return white
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _make_greys(picture: Picture, grey_of: Callable[[NDArray[Any]], NDArray[Any]]) -> Picture:
    """Return a picture in 8-bit grey, converted strip by strip."""
    from PIL import Image

    greys = Image.new("L", picture.size)
    for top, strip in _strips(picture):
        greys.paste(Image.fromarray(grey_of(strip).astype("u1")), (0, top))
    return greys


def _strips(picture: Picture) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the first row and the numbers of each strip of a picture."""
    import numpy as np

    rows = max(1, _STRIP // picture.width)
    for top in range(0, picture.height, rows):
        box = (0, top, picture.width, min(top + rows, picture.height))
        yield top, np.asarray(picture.crop(box))


def _stretch(picture: Picture) -> Picture:
    """Return greys without a known white in 8 bits, stretched from darkest to brightest."""
    import numpy as np

    def make_finite(strip: NDArray[Any]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = np.nan_to_num(strip.astype(float), posinf=0, neginf=0)
        return found

    ends = [
        (numbers.min(), numbers.max()) for _, s in _strips(picture) for numbers in [make_finite(s)]
    ]
    least, most = min(low for low, _ in ends), max(high for _, high in ends)
    span = most - least or 1.0
    return _make_greys(picture, lambda strip: np.rint((make_finite(strip) - least) / span * 255))


def orientation_of(picture: Picture) -> object:
    """Return the orientation by EXIF; None if there is none, or EXIF is broken."""
    try:
        return picture.getexif().get(_ORIENTATION)
    except Exception:
        return None


def turn_upright(picture: Picture, orientation: object) -> Picture:
    """Turn or flip a picture as its orientation says."""
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


def crop_image(
    picture: Picture, *, shorter: int, crop: int, bicubic: bool = False, squash: bool = False
) -> Picture:
    """Resize the shorter side to `shorter`, and return the central `crop` x `crop` pixels.

    Sizes and pixels are those of torchvision's `Resize` and `CenterCrop`. If `squash`, both sides
    become `shorter`.
    """
    from PIL.Image import Resampling

    least = min(picture.size)
    sizes = [shorter if squash else int(shorter * side / least) for side in picture.size]
    kernel = Resampling.BICUBIC if bicubic else Resampling.BILINEAR
    # Across and then down, as Pillow resizes at once all but tall pictures.
    if picture.height > 2 * picture.width:
        picture = picture.resize((sizes[0], sizes[1]), kernel)
    for axis, size in enumerate(sizes):
        side, first = picture.size[axis], round((size - crop) / 2)
        kept = (first, first + crop)
        # Only the kept part is resized if Pillow's float32 holds its places exactly.
        if all(array("f", [place * side / size])[0] * size == place * side for place in kept):
            box = _box(picture, axis, kept[0] * side / size, kept[1] * side / size)
            picture = picture.resize(_with(picture.size, axis, crop), kernel, box)
        else:
            picture = picture.resize(_with(picture.size, axis, size), kernel)
            picture = picture.crop(_box(picture, axis, *kept))
    return picture


def _with(size: tuple[int, int], axis: int, length: int) -> tuple[int, int]:
    return (size[0], length) if axis else (length, size[1])


def _box(
    picture: Picture, axis: int, start: float, end: float
) -> tuple[float, float, float, float]:
    """Return (left, top, right, bottom) of the part from `start` to `end` along one axis."""
    width, height = picture.size
    return (0, start, width, end) if axis else (start, 0, end, height)


def make_thumbnail(picture: Picture, side: int) -> bytes:
    """Return a picture as a small JPEG without EXIF, no side above `side` pixels."""
    small = BytesIO()
    picture.info = {}  # Pillow would write its comment
    picture.thumbnail((side, side))
    picture.save(small, "JPEG", quality=80)
    return small.getvalue()


def save_jpeg(pixels: NDArray[np.uint8], path: Path) -> None:
    """Write RGB pixels (height, width, 3) as a JPEG file."""
    from PIL import Image

    Image.fromarray(pixels).save(path, "JPEG", quality=90)
