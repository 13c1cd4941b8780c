"""Pictures: what may come in, and the colours that come out."""

import hashlib
import os
import socket
import struct
import subprocess
import sys
import warnings
import zlib
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFile

from indexer.errors import ImageError
from indexer.images import MAX_BYTES, cropped, is_same, open_image

Ints = NDArray[np.int64]

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quarters(width: int = 48, height: int = 32) -> Image.Image:
    """Red, green on top; blue, white below."""
    pixels = np.zeros((height, width, 3), np.uint8)
    half = (height // 2, width // 2)
    pixels[: half[0], : half[1]], pixels[: half[0], half[1] :] = RED, GREEN
    pixels[half[0] :, : half[1]], pixels[half[0] :, half[1] :] = BLUE, WHITE
    return Image.fromarray(pixels)


def saved(folder: Path, picture: Image.Image, name: str, **options: Any) -> Path:
    path = folder / name
    picture.save(path, **options)
    return path


def corners(picture: Image.Image) -> Ints:
    """Colours in the middle of the four quarters, in reading order."""
    assert picture.mode == "RGB"
    across, down = picture.width // 4, picture.height // 4
    places = [(across, down), (3 * across, down), (across, 3 * down), (3 * across, 3 * down)]
    return np.array([picture.getpixel(place) for place in places], int)


def close(picture: Image.Image, *colours: tuple[int, ...], within: int = 0) -> bool:
    return bool((np.abs(corners(picture) - np.array(colours)) <= within).all())


def refusal(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        open_image(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("form", "options", "within"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("GIF", {}, 0),
        ("JPEG", {"quality": 95}, 4),
        ("JPEG", {"quality": 95, "progressive": True}, 4),
    ],
)
def test_content_decides_the_format_and_colours_stay(tmp_path, form, options, within):
    path = saved(tmp_path, quarters(), "picture.txt", format=form, **options)
    assert open_image(path).size == (48, 32)
    assert close(open_image(path), RED, GREEN, BLUE, WHITE, within=within)


def test_first_picture_of_an_mpo(tmp_path):
    other = Image.new("RGB", (48, 32), "black")
    options = {"format": "MPO", "save_all": True, "append_images": [other], "quality": 95}
    path = saved(tmp_path, quarters(), "stereo.mpo", **options)
    assert close(open_image(path), RED, GREEN, BLUE, WHITE, within=4)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "TIFF", "PNG"])
def test_first_frame_of_an_animation(tmp_path, form):
    frames = [Image.new("RGB", (48, 32), colour) for colour in ("black", "blue")]
    lossless = {"lossless": True} if form == "WEBP" else {}
    options = {"format": form, "save_all": True, "append_images": frames} | lossless
    path = saved(tmp_path, quarters(), "moving", **options)
    assert close(open_image(path), RED, GREEN, BLUE, WHITE)


# Where the four quarters of the picture as stored must come to lie, for each EXIF orientation.
TURNED = {
    1: (RED, GREEN, BLUE, WHITE),
    2: (GREEN, RED, WHITE, BLUE),
    3: (WHITE, BLUE, GREEN, RED),
    4: (BLUE, WHITE, RED, GREEN),
    5: (RED, BLUE, GREEN, WHITE),
    6: (BLUE, RED, WHITE, GREEN),
    7: (WHITE, GREEN, BLUE, RED),
    8: (GREEN, WHITE, RED, BLUE),
}


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", TURNED)
def test_orientation(tmp_path, form, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, quarters(), "turned", format=form, exif=exif, quality=95)
    picture = open_image(path)
    assert picture.size == ((48, 32) if orientation < 5 else (32, 48))
    assert close(picture, *TURNED[orientation], within=0 if form in ("PNG", "TIFF") else 40)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0garbage that is no TIFF",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0\0\0\0\0",  # turn 99
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0abc\0\0\0\0\0",  # turn "abc"
        b"Exif\0\0",
    ],
)
def test_broken_exif_leaves_a_picture_as_it_is(tmp_path, exif):
    path = saved(tmp_path, quarters(), "exif.jpg", exif=exif, quality=95)
    assert close(open_image(path), RED, GREEN, BLUE, WHITE, within=4)


def test_transparent_parts_are_white(tmp_path):
    half_red = Image.new("RGBA", (8, 8), (255, 0, 0, 128))
    assert open_image(saved(tmp_path, half_red, "a.png")).getpixel((3, 3)) == (255, 127, 127)
    clear_black = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    assert open_image(saved(tmp_path, clear_black, "b.webp")).getpixel((3, 3)) == WHITE
    grey = Image.new("LA", (8, 8), (0, 51))
    assert open_image(saved(tmp_path, grey, "c.png")).getpixel((3, 3)) == (204, 204, 204)


def test_transparent_colours_of_palette_grey_and_rgb(tmp_path):
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([*RED, *BLUE])
    palette.paste(1, (4, 0, 8, 8))
    several = saved(tmp_path, palette, "p.png", transparency=bytes([0, 255]))
    for path in (several, saved(tmp_path, palette, "p.gif", transparency=0)):
        picture = open_image(path)
        assert (picture.getpixel((1, 1)), picture.getpixel((6, 6))) == (WHITE, BLUE)
    grey = saved(tmp_path, Image.new("L", (8, 8), 7), "l.png", transparency=7)
    assert open_image(grey).getpixel((1, 1)) == WHITE
    rgb = saved(tmp_path, quarters(), "rgb.png", transparency=GREEN)
    assert close(open_image(rgb), RED, WHITE, BLUE, WHITE)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, form):
    values = np.array([[0, 257 * 100, 257 * 200, 65535, 128, 129]], np.uint16).repeat(4, axis=0)
    picture = open_image(saved(tmp_path, Image.fromarray(values), "deep", format=form))
    assert np.asarray(picture)[0].tolist() == [[v] * 3 for v in (0, 100, 200, 255, 0, 1)]


def test_greys_without_a_known_white_are_stretched(tmp_path):
    for dtype in (np.float32, np.int32):
        values = np.array([[-10, 0, 10], [-10, 0, 10]], dtype)
        picture = open_image(saved(tmp_path, Image.fromarray(values), "grey.tiff"))
        assert np.asarray(picture)[1].tolist() == [[0] * 3, [128] * 3, [255] * 3]
    flat = Image.fromarray(np.full((2, 2), np.nan, np.float32))
    assert open_image(saved(tmp_path, flat, "nan.tiff")).getpixel((0, 0)) == (0, 0, 0)


def test_one_bit_and_grey(tmp_path):
    bits = Image.fromarray(np.array([[True, False]] * 2))
    assert np.asarray(open_image(saved(tmp_path, bits, "1.png")))[0].tolist() == [
        [255] * 3,
        [0] * 3,
    ]
    assert open_image(saved(tmp_path, Image.new("L", (9, 9), 77), "l.jpg")).getpixel((4, 4)) == (
        (77,) * 3
    )


def test_cmyk(tmp_path):
    # Red is magenta and yellow. Pillow writes JPEG's CMYK inverted with Adobe's mark, as
    # Photoshop does: reading it without turning it back would give a dark cyan.
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for name in ("adobe.jpg", "ink.tiff"):
        path = saved(tmp_path, red, name)
        assert np.abs(np.array(open_image(path).getpixel((8, 8))) - RED).max() <= 3
    assert b"Adobe" in (tmp_path / "adobe.jpg").read_bytes()[:64]


def test_a_large_jpeg_is_decoded_smaller_where_a_side_is_given(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, quarters(1600, 1200), "big.jpg", quality=95, exif=exif)
    assert open_image(path).size == (1200, 1600)
    small = open_image(path, side=256)
    assert small.size == (300, 400)  # a quarter; an eighth would be 150 wide, below 256
    assert close(small, *TURNED[6], within=4)
    png = saved(tmp_path, quarters(1600, 1200), "big.png")
    assert open_image(png, side=256).size == (1600, 1200)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.sampled_from([(232, 224, False), (256, 224, True), (37, 32, True)]),
    st.integers(0, 2**32 - 1),
)
def test_cropped_is_torchvisions_resize_and_crop(width, height, sizes, seed):
    from torchvision.transforms import InterpolationMode, functional

    shorter, crop, bicubic = sizes
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    picture = Image.fromarray(pixels)
    mode = InterpolationMode.BICUBIC if bicubic else InterpolationMode.BILINEAR
    expected = functional.center_crop(functional.resize(picture, [shorter], mode), [crop])
    found = cropped(picture, shorter=shorter, crop=crop, bicubic=bicubic)
    assert np.array_equal(np.asarray(found), np.asarray(expected))


def png_of(width: int, height: int) -> bytes:
    """A PNG whose header claims a size, with next to no data behind it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + (chunk(b"IEND", b""))
    )


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((10_000, 6_000), "60 megapixels, at most 50"),
        ((10_000, 10_000), "100 megapixels, at most 50"),  # Pillow itself would warn
        ((20_000, 10_000), "200 megapixels, at most 50"),  # Pillow itself would refuse
        ((2**31 - 1, 2**31 - 1), "megapixels, at most 50"),
        ((1, 20_000), "1 x 20000 pixels, at most 16384 a side"),
        ((101, 1), "101 x 1 pixels, at most 100 times as long as wide"),
        ((3, 301), "3 x 301 pixels, at most 100 times as long as wide"),
    ],
)
def test_sizes_are_refused_before_decoding(tmp_path, size, message):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_of(*size))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert message in refusal(path)
    assert not warned


def test_sizes_at_the_limit_pass(tmp_path):
    assert open_image(saved(tmp_path, Image.new("RGB", (1, 1), RED), "1.png")).size == (1, 1)
    assert open_image(saved(tmp_path, Image.new("1", (16_384, 164)), "w.png")).size == (16_384, 164)
    assert open_image(saved(tmp_path, Image.new("1", (100, 1)), "thin.png")).size == (100, 1)
    assert open_image(saved(tmp_path, Image.new("1", (10_000, 5_000)), "x.png")).width == 10_000


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("photo.jpg", HEIC, "HEIC picture named .jpg: convert it to JPEG"),
        ("photo", HEIC, "HEIC picture: convert it to JPEG"),
        ("a.png", b"\0\0\0\x1cftypavif\0\0\0\0", "AVIF picture named .png: convert it to JPEG"),
        ("a.jpg", b"\0\0\0\x18ftypmp42\0\0\0\0", "video named .jpg: expected JPEG, PNG"),
        ("a.jpg", b"%PDF-1.7 ...", "PDF document named .jpg: expected JPEG, PNG"),
        ("a.jpg", b"<!DOCTYPE html><p>404", "web page named .jpg: expected JPEG"),
        ("a.svg", b"<svg xmlns=''/>", "SVG drawing named .svg: expected JPEG"),
        ("a.jpg", b"8BPS\0\1" + bytes(30), "Photoshop file named .jpg"),
        ("a.ppm", b"P6 1 1 255 abc", "not a picture, expected JPEG, PNG"),
        ("a.eps", b"%!PS-Adobe-3.0 EPSF-3.0", "not a picture, expected JPEG, PNG"),
        ("a.jpg", b"hello", "not a picture, expected JPEG, PNG"),
        ("a.jpg", b"\xff\xd8\xff\xe0nothing more", "JPEG picture, damaged or truncated: fetch"),
        ("a.jpg", b"", "empty file, expected a picture: fetch it again"),
    ],
)
def test_what_is_no_picture_is_named(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    assert refusal(path).startswith(message)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_a_file_cut_in_half_is_refused(tmp_path, form):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    whole = saved(tmp_path, Image.fromarray(noise), "whole", format=form).read_bytes()
    path = tmp_path / f"half.{form.lower()}"
    path.write_bytes(whole[: len(whole) // 2])
    message = refusal(path)
    assert message.startswith(f"{form} picture, ")
    assert "truncated" in message
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_files_that_cannot_be_read(tmp_path):
    assert refusal(tmp_path / "none.jpg") == "no such file, check its name"
    assert refusal(tmp_path) == "a folder, expected a picture file"
    assert "cannot be read" in refusal(tmp_path / ("x" * 300))
    assert "null" in refusal(tmp_path / "a\0b.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert refusal(tmp_path / "pipe.jpg") == "a pipe or device, expected a picture file"
    loop = tmp_path / "loop.jpg"
    loop.symlink_to(loop)
    assert "cannot be read" in refusal(loop)


def test_a_socket_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as served:
        served.bind("s.jpg")
        assert "pipe or device" in refusal(Path("s.jpg"))


def test_no_permission(tmp_path):
    path = saved(tmp_path, quarters(), "mine.png")
    path.chmod(0)
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)  # root may read anything
    try:
        assert refusal(path) == "no permission to read it, allow it or leave it out"
    finally:
        os.seteuid(was)


def test_a_file_of_too_many_bytes(tmp_path):
    path = saved(tmp_path, quarters(), "heavy.png")
    os.truncate(path, MAX_BYTES)
    assert close(open_image(path), RED, GREEN, BLUE, WHITE)
    os.truncate(path, 31_000_000)
    assert refusal(path) == "31.0 MB, at most 25: save it smaller"


def encoded(form: str) -> bytes:
    stream = BytesIO()
    quarters().save(stream, form)
    return stream.getvalue()


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"]).map(encoded),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6),
    st.integers(0, 10_000),
)
def test_damage_gives_a_picture_or_our_error(tmp_path, content, changes, end):
    damaged = bytearray(content)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    path = tmp_path / "damaged"
    path.write_bytes(damaged[: end if end % 2 else None])
    # Anything but a picture or our error fails this test.
    with suppress(ImageError):
        assert open_image(path, side=16).mode == "RGB"


def test_pillow_waits_for_a_picture():
    code = "import sys, indexer.images; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_file_is_the_same_picture_by_its_bytes_alone(tmp_path: Path) -> None:
    path, content = tmp_path / "a.jpg", b"\xff\xd8\xff some picture"
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    assert is_same(path, digest)
    assert not is_same(path, None)
    assert not is_same(tmp_path, digest)
    assert not is_same(tmp_path / "gone.jpg", digest)
    path.write_bytes(content + b".")
    assert not is_same(path, digest)
