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
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFile, PngImagePlugin

from hashlens.indexer.decoding.file_bytes import count_scans
from hashlens.indexer.decoding.file_formats import format_of, picture_format
from hashlens.indexer.decoding.loading import MAX_BYTES, is_same, open_image, prepare_pillow
from hashlens.indexer.decoding.pixels import crop_image
from hashlens.indexer.errors import ImageError

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
        ("AVIF", {"quality": 95}, 6),
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
    found = crop_image(picture, shorter=shorter, crop=crop, bicubic=bicubic)
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
        ((15_100, 10_000), "151 megapixels, 604 MB when decoded, at most 600 MB: scale it down"),
        ((20_000, 10_000), "200 megapixels, 800 MB when decoded, at most 600 MB: scale it down"),
        ((2**31 - 1, 2**31 - 1), "megapixels, 18,446,744,056,530 MB when decoded, at most 600 MB"),
        ((1, 20_000), "1 x 20000 pixels, at most 100 times as long as wide"),
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
    assert open_image(saved(tmp_path, Image.new("1", (20_000, 6_000)), "y.png")).width == 20_000


@pytest.mark.parametrize(
    ("size", "decoded"),
    [
        ((8160, 6144), (1020, 768)),  # a phone of 50 megapixels
        ((16_382, 3628), (4096, 907)),  # its panorama
        ((24_000, 2400), (6000, 600)),
        ((16_320, 12_240), (2040, 1530)),  # a phone of 200 megapixels
    ],
)
def test_photos_and_panoramas_of_phones(tmp_path, size, decoded):
    path = saved(tmp_path, Image.new("RGB", size, (200, 100, 50)), "phone.jpg", quality=60)
    picture = open_image(path, side=512)
    assert picture.size == decoded
    assert np.abs(np.array(picture.getpixel((5, 5))) - (200, 100, 50)).max() <= 3


@pytest.mark.parametrize(
    ("mode", "form", "size", "decoded"),
    [
        ("F", "TIFF", (8000, 6500), 624),
        ("RGBA", "PNG", (10_000, 8000), 640),
        ("RGB", "WEBP", (7000, 5000), 630),
        ("RGBA", "WEBP", (5600, 5000), 616),
        ("RGB", "AVIF", (10_000, 6100), 610),
    ],
)
def test_the_limit_is_of_decoded_bytes(tmp_path, mode, form, size, decoded):
    known: dict[str, dict[str, Any]] = {"TIFF": {"compression": "tiff_deflate"}}
    options = known.get(form, {"speed": 10})
    path = saved(tmp_path, Image.new(mode, size), "large", format=form, **options)
    pixels = size[0] * size[1] // 1_000_000
    wanted = f"{pixels} megapixels, {decoded} MB when decoded, at most 600 MB: scale it down"
    assert refusal(path) == wanted


def progressive(side: int, scans: int) -> bytes:
    """A JPEG whose last scan comes again and again."""
    stream = BytesIO()
    Image.new("RGB", (side, side), "red").save(stream, "JPEG", progressive=True, quality=50)
    whole = stream.getvalue()
    last = whole.rindex(b"\xff\xda")
    return whole[:-2] + whole[last:-2] * (scans - whole.count(b"\xff\xda")) + b"\xff\xd9"


def test_scans_of_a_jpeg_are_counted_before_it_is_decoded(tmp_path):
    path = tmp_path / "scans.jpg"
    path.write_bytes(progressive(64, 100))
    assert open_image(path).size == (64, 64)
    path.write_bytes(progressive(64, 101))
    assert refusal(path).startswith("JPEG picture of 101 scans or more, at most 100 at this size")


def test_a_large_jpeg_may_have_fewer_scans(tmp_path):
    path = tmp_path / "scans.jpg"
    path.write_bytes(progressive(7000, 21))
    assert refusal(path) == (
        "JPEG picture of 21 scans or more, at most 20 at this size, as each takes as long as a "
        "picture: save it as a plain JPEG"
    )
    path.write_bytes(progressive(7000, 20))
    assert open_image(path, side=512).size == (875, 875)


def test_only_scans_of_the_first_picture_count():
    marker = b"\xff\xda\x00\x02"
    application = b"\xff\xe1" + (2 + 400).to_bytes(2) + marker * 100  # a thumbnail, say
    picture = b"\xff\xd8" + application + marker + b"data\xff\x00\xff\xd0more" + b"\xff\xd9"
    assert count_scans(picture) == 1
    assert count_scans(picture + picture * 200) == 1
    assert count_scans(picture[:-2] + marker * 500) == 101
    for junk in (b"", b"\xff", b"\xff\xd8\xff\xda", b"\xff\xd8\xff\xe1\xff"):
        assert count_scans(junk) <= 1


def png_with(kind: str, tmp_path: Path) -> Path:
    """A PNG with a chunk of megabytes, packed to little."""
    info = PngImagePlugin.PngInfo()
    options: dict[str, Any] = {}
    if kind == "icc":
        options["icc_profile"] = b"\0" * 3_000_000
    elif kind == "itxt":
        info.add_itxt("workflow", "x, " * 500_000, zip=True)
    elif kind == "ztxt":
        info.add_text("workflow", '{"n":1}' * 200_000, zip=True)
    elif kind == "bomb":
        info.add_text("Raw profile type exif", "0" * 50_000_000, zip=True)
    else:
        for number in range(70):  # more than Pillow takes in all
            info.add_text(f"part{number}", "y" * 1_000_000, zip=True)
    return saved(tmp_path, quarters(), f"{kind}.png", pnginfo=info, **options)


@pytest.mark.parametrize("kind", ["icc", "itxt", "ztxt", "bomb", "many"])
def test_a_png_with_long_texts_or_profiles_is_read(tmp_path, kind):
    assert close(open_image(png_with(kind, tmp_path)), RED, GREEN, BLUE, WHITE)


def test_a_png_with_a_damaged_text_is_read(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("workflow", "plain words")
    path = saved(tmp_path, quarters(), "text.png", pnginfo=info)
    path.write_bytes(path.read_bytes().replace(b"plain words", b"plain wordz"))
    assert close(open_image(path), RED, GREEN, BLUE, WHITE)


def test_a_png_is_turned_as_its_xmp_says(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    path = saved(tmp_path, quarters(), "xmp.png", pnginfo=info)
    assert close(open_image(path), *TURNED[6])


def ends(path: Path, cut: int) -> Path:
    """The same file without its last bytes."""
    path.write_bytes(path.read_bytes()[:-cut])
    return path


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
@pytest.mark.parametrize("cut", [1, 2])
def test_a_jpeg_without_its_end_marker_is_read(tmp_path, options, cut):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8))
    whole = saved(tmp_path, noise, "whole.jpg", **options)
    path = ends(saved(tmp_path, noise, "cut.jpg", **options), cut)
    assert np.array_equal(np.asarray(open_image(path)), np.asarray(open_image(whole)))
    assert np.array_equal(
        np.asarray(open_image(path, side=20)), np.asarray(open_image(whole, side=20))
    )
    ends(path, 40)  # of its pixels, too
    assert refusal(path).startswith("JPEG picture, truncated")


def test_a_png_or_gif_without_its_end_is_read(tmp_path):
    for name, cut in (("a.png", 12), ("a.gif", 1)):
        path = ends(saved(tmp_path, quarters(), name), cut)
        assert close(open_image(path), RED, GREEN, BLUE, WHITE)


@pytest.mark.parametrize(
    ("head", "name", "read"),
    [
        (b"\xff\xd8\xff\xe0", "JPEG", True),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "AVIF", True),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif", "AVIF", True),
        (b"\0\0\0\x18ftypmif1\0\0\0\0heicmif1", "HEIC", None),
        (b"\0\0\0\x18ftypheix\0\0\0\0mif1heix", "HEIC", None),
        (b"\xff\x0a\xfa", "JPEG XL", None),
        (b"\0\0\0\x0cJXL \r\n", "JPEG XL", None),
        (b"\0\0\0\x0cjP  \r\n", "JPEG 2000", False),
        (b"\0\0\0\x18ftypqt  \0\0\0\0qt  ", None, False),
        (b"%PDF", None, False),
        (b"", None, False),
    ],
)
def test_a_picture_is_known_by_its_first_bytes(head, name, read):
    assert picture_format(head) == name
    if read is None:  # by another package
        read = find_spec("pillow_heif" if name == "HEIC" else "pillow_jxl") is not None
    assert format_of(head) == (name if read else None)


@pytest.mark.parametrize(("package", "form"), [("pillow_heif", "HEIF"), ("pillow_jxl", "JXL")])
def test_heic_and_jpeg_xl_are_read_with_their_package(tmp_path, package, form):
    pytest.importorskip(package, reason='needs pip install "hashlens[heif]"')
    prepare_pillow()
    path = saved(tmp_path, quarters(192, 128), "photo", format=form, quality=95)
    picture = open_image(path, side=64)
    assert picture.size == (192, 128)
    assert close(picture, RED, GREEN, BLUE, WHITE, within=12)
    path.write_bytes(path.read_bytes()[:-40])
    assert refusal(path).startswith(f"{'HEIC' if form == 'HEIF' else 'JPEG XL'} picture, ")


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("photo.jpg", HEIC, "HEIC picture named .jpg: convert it to JPEG, or pip"),
        ("photo", HEIC, "HEIC picture: convert it to JPEG, or pip"),
        (
            "b.heic",
            HEIC,
            'HEIC picture named .heic: convert it to JPEG, or pip install "hashlens[heif',
        ),
        ("a.png", b"\0\0\0\x1cftypavif\0\0\0\0", "AVIF picture, damaged or truncated: fetch it"),
        (
            "a.jxl",
            b"\xff\x0a" + bytes(30),
            "JPEG XL picture named .jxl: convert it to JPEG, or pip",
        ),
        ("a.jp2", b"\0\0\0\x0cjP  \r\n", "JPEG 2000 picture named .jp2: convert it to JPEG"),
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
    if "pip" in message and find_spec("pillow_heif"):
        pytest.skip("they are read here")
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
    code = "import sys, hashlens.indexer.decoding.loading; sys.exit('PIL' in sys.modules)"
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
