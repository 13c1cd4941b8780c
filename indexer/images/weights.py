"""Files of weights: found or downloaded, checked by hash, and read so that they cannot run code.

PyTorch is imported inside functions: a hash does not need it.
"""

from __future__ import annotations

import errno
import os
from functools import lru_cache
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING

from hashlens.indexer.errors import EncoderError
from hashlens.indexer.file_io import hash_file
from hashlens.indexer.images.specs import LITE0, Recipe

if TYPE_CHECKING:
    from torch import Tensor

    from hashlens.indexer.images.specs import State


def weights_file(recipe: Recipe, *, fetch: bool = True) -> Path:
    """Return the usual file of an encoder's weights.

    Args:
        recipe: of the encoder.
        fetch: whether weights that are missing are fetched. An index from elsewhere must not
            decide that: it may name any encoder.

    Raises:
        EncoderError: it is missing and cannot or may not be fetched, or is damaged.
        SetupError: a library that fetches it is missing.
    """
    file = recipe.file()
    if not file.is_file():
        if recipe.fetch and not fetch:
            raise EncoderError(
                f"{recipe.name}: found no weights at {file}, which this index needs for pictures; "
                f"put {recipe.source} there, or name that file with --weights FILE (only "
                f"`hashlens build --encoder {recipe.name}` fetches it)"
            )
        if recipe.fetch is None:
            raise EncoderError(
                f"{file}: missing, expected {recipe.name}'s weights: {recipe.source}"
            )
        recipe.check_libraries()
        try:
            recipe.fetch(file)
        # Libraries that download fail with errors of many classes.
        except Exception as error:
            raise EncoderError(
                f"{recipe.name}: found no weights, and {recipe.source} cannot be fetched "
                f"({error}); put that file at {file}, or name it with --weights FILE, or use "
                f"--encoder {LITE0.name}"
            ) from error
        file = recipe.file()
    expected, digest = file.stem.rpartition("-")[2], weights_hash(file)
    is_hash = len(expected) >= 8 and not set(expected) - set("0123456789abcdef")
    if is_hash and not digest.startswith(expected):
        raise EncoderError(
            f"{file}: damaged, found sha256 {digest}, expected {expected}...; delete it to have it "
            "fetched again, or name another with --weights FILE"
        )
    return file


def weights_hash(file: Path) -> str:
    """Return the hexadecimal sha256 of a weights file, computed once for an unchanged file.

    Raises:
        EncoderError: the file cannot be read.
    """
    try:
        found = file.stat()
        if S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not S_ISREG(found.st_mode):
            raise EncoderError(f"{file}: found no regular file, expected one of weights")
        return _digest(file.resolve(), found.st_mtime_ns, found.st_size)
    except OSError as error:
        raise EncoderError(
            f"{file}: cannot be read as weights ({error.strerror}), expected a .pth or "
            ".safetensors file: check the name"
        ) from error


@lru_cache(maxsize=16)
def _digest(file: Path, _changed: int, _size: int) -> str:
    return hash_file(file)


def read_state(file: Path) -> State:
    """Return tensors by name from a file, which cannot run code.

    Raises:
        EncoderError: the file is damaged, or holds other things than tensors.
    """
    import torch
    from safetensors.torch import load_file

    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    # Damaged files raise errors of many classes, and torch's own text advises to run their code.
    except Exception as error:
        raise EncoderError(
            f"{file}: damaged, or holds more than tensors, which could run code and is not read; "
            "expected a state dict saved by torch, or .safetensors"
        ) from error
    # OpenCLIP's training saves the state dict beside other things.
    inner = state.get("state_dict") if isinstance(state, dict) else None
    found = inner if isinstance(inner, dict) and inner else state
    if isinstance(found, dict) and all(isinstance(v, torch.Tensor) for v in found.values()):
        return {str(name).removeprefix("module."): tensor for name, tensor in found.items()}
    raise EncoderError(
        f"{file}: found a {type(state).__name__} of other things than tensors, "
        "expected a state dict: save the model's state_dict() alone"
    )


def check_fit(wanted: State, state: State, recipe: Recipe, file: Path) -> None:
    """Check a file's tensors against the network's names and shapes, except for unread parts.

    Raises:
        EncoderError: the weights are of another model.
    """
    unread = recipe.unread | {recipe.head}

    def shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
        kept = (n for n in tensors if not n.endswith(("num_batches_tracked", "position_ids")))
        return {n: tuple(tensors[n].shape) for n in kept if n.partition(".")[0] not in unread}

    found, expected = shapes(state), shapes(wanted)
    names = [*expected, *(name for name in found if name not in expected)]
    wrong = [name for name in names if found.get(name) != expected.get(name)]
    if wrong:
        first = wrong[0]
        raise EncoderError(
            f"{file}: found weights of another model ({len(wrong)} tensors differ; the first is "
            f"{first}: found {found.get(first, 'none')}, expected {expected.get(first, 'none')}), "
            f"expected those of {recipe.name}: name another file with --weights"
        )
