"""Networks in ONNX Runtime: shipped, or exported from PyTorch once and kept in the user's cache.

An export scales colours itself, so it takes pixels as they are decoded. A kept one is known by
the hash of the weights, the preprocessing and `VERSION`. PyTorch is needed only to make one, and
for a build to check one whose fingerprint is not known.
"""

from __future__ import annotations

import hashlib
import logging
import math
import warnings
from functools import cache, partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from hashlens.indexer.arrays.row_math import normalize_rows
from hashlens.indexer.errors import EncoderError
from hashlens.indexer.file_io import hash_file
from hashlens.indexer.images.file_cache import cache_folder, cached
from hashlens.indexer.images.specs import Recipe, ShippedExport
from hashlens.indexer.images.torch_network import Network, Outputs, Pixels, TorchNetwork, one_core

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

VERSION = 1  # of exports; a change makes all of them again
AGREEMENT = 1e-4  # most that unit vectors may differ from PyTorch's
_APART = 0.05  # most that numbers of fingerprints differ, which are 1 on average
_OPSET = 18
_MOST_BYTES = 2**31 - 2**20  # an ONNX file is one protocol buffer

# By the sha256 of weights, what `fingerprint` gives for them: EfficientNet-Lite2.
FINGERPRINTS = {
    "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d": (
        "-0.829 -0.520 0.986 -0.843 0.296 -0.253 -0.221 -1.486 "
        "-0.851 -0.292 0.657 0.179 0.252 -0.840 -0.914 -1.359"
    ),
}

log = logging.getLogger("hashlens")


class OnnxNetwork:
    """An exported network; thread-safe."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._sessions: dict[int, InferenceSession] = {}
        self._lock = Lock()

    @property
    def has_classes(self) -> bool:
        """Whether it has logits of ImageNet's 1,000 classes."""
        return len(self._session(1).get_outputs()) > 1

    def run(self, pixels: Pixels, cores: int = 1) -> Outputs:
        """Return features float32 (b, width), and logits float32 (b, 1000) if it has them."""
        features, *logits = self._session(cores).run(None, {"pixels": pixels})
        return features, logits[0] if logits else None

    def _session(self, cores: int) -> InferenceSession:
        with self._lock:
            if cores not in self._sessions:
                self._sessions[cores] = _session(self._file, cores)
            return self._sessions[cores]


@cache
def open_shipped(export: ShippedExport) -> OnnxNetwork:
    """Return the network of an export that ships; its file is checked once in a process.

    Raises:
        EncoderError: the file is missing or damaged.
    """
    try:
        digest = hash_file(export.file)
    except OSError as error:
        raise EncoderError(
            f"{export.file}: cannot be read ({error.strerror}), expected the network that comes "
            "with hashlens: install hashlens again"
        ) from error
    if digest != export.sha256:
        raise EncoderError(
            f"{export.file}: damaged, found sha256 {digest}, expected {export.sha256}: install "
            "hashlens again"
        )
    return OnnxNetwork(export.file)


def load_or_export(
    recipe: Recipe,
    weights: Path,
    digest: str,
    recorded: str | None = None,
    *,
    verify: bool = False,
) -> OnnxNetwork:
    """Return the network with these weights, whose sha256 is `digest`; export it if needed.

    A kept export is checked against the known fingerprint of its weights, and made again if it
    differs.

    Args:
        recipe: how the network is made.
        weights: their file.
        digest: its sha256.
        recorded: the network's `fingerprint` in an index, if known.
        verify: whether PyTorch checks an export of unknown fingerprint.

    Raises:
        EncoderError: the weights cannot be read or are of another model, the cache cannot be
            written, or the export does not compute what PyTorch does.
        SetupError: a library that exports or checks it is missing.
    """
    key = f"{VERSION}\n{recipe.name}\n{digest}\n{recipe.preprocessing}"
    known = FINGERPRINTS.get(digest) or recorded
    sound: dict[Path, OnnxNetwork] = {}

    def is_sound(file: Path) -> bool:
        network = OnnxNetwork(file)
        try:
            found = fingerprint(network, recipe.crop)
            if known and not _is_same(found, known):
                return False
            if verify and not known:
                _check(
                    recipe,
                    TorchNetwork.open(recipe, weights),
                    network,
                    _noise_pictures(recipe.crop),
                )
        # ONNX Runtime meets odd files with errors of many classes.
        except Exception:
            return False
        sound[file] = network
        return True

    file = cached("onnx", recipe.name, key, partial(_export, recipe, weights), is_sound)
    if file in sound or not recorded or digest in FINGERPRINTS:
        return sound.get(file) or OnnxNetwork(file)
    made = OnnxNetwork(file)
    if not _is_same(fingerprint(made, recipe.crop), recorded):
        raise EncoderError(
            f"{recipe.name}: found that its weights make another network than the index recorded: "
            "build the index again"
        )
    return made


def fingerprint(network: Network, crop: int) -> str:
    """Return 16 numbers from a network's vectors of two noise pictures; they identify the network.

    Args:
        network: takes pictures of `crop` x `crop` pixels.
        crop: pixels.
    """
    features = normalize_rows(network.run(_noise_pictures(crop))[0])
    drawn = np.frombuffer(_draw(8 * features.shape[1]), np.uint8).reshape(-1, 8)
    signs = np.where(drawn & 1, 1, -1)
    return " ".join(f"{number:.3f}" for number in (features @ signs).ravel().tolist())


def _is_same(found: str, known: str) -> bool:
    """Return whether two fingerprints are of one network, up to differences of processors."""
    try:
        numbers = [np.array(text.split(), float) for text in (found, known)]
        return float(np.abs(numbers[0] - numbers[1]).max()) < _APART
    except ValueError:
        return False


def _noise_pictures(crop: int) -> Pixels:
    """Return two pictures of noise, the same on all machines."""
    shape = (2, crop, crop, 3)
    return np.frombuffer(_draw(math.prod(shape)), np.uint8).reshape(shape)


def _draw(size: int) -> bytes:
    return hashlib.shake_256(b"hashlens").digest(size)


def _session(file: Path, cores: int) -> InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores
    options.log_severity_level = 3
    # Threads that wait by spinning take the cores that decode pictures.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    # The file was whole when it was found, so it was taken away since, or memory is short.
    except Exception as error:
        raise EncoderError(f"{file}: cannot be opened ({error}): ask again") from error


def _export(recipe: Recipe, weights: Path, file: Path) -> None:
    """Write a network's export into a file, and check it against PyTorch."""
    recipe.check_libraries()
    import torch

    log.warning(
        "encoder %s: exporting its network for ONNX Runtime into %s, once; it takes some seconds",
        recipe.name,
        cache_folder(),
    )
    network = TorchNetwork.open(recipe, weights)
    if sum(tensor.nbytes for tensor in network.module.state_dict().values()) > _MOST_BYTES:
        raise EncoderError(f"{recipe.name}: larger than the 2 GB of an export: name a smaller one")
    shown = _noise_pictures(recipe.crop)
    outputs = ["features", "logits"][: 1 + network.has_classes]
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one operation, which ONNX lacks
    try:
        with one_core(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # The tracing exporter takes a second, torch's newer one seven, to the same graph.
            torch.onnx.export(
                network.module,
                (torch.from_numpy(shown),),
                str(file),
                dynamo=False,
                opset_version=_OPSET,
                input_names=["pixels"],
                output_names=outputs,
                dynamic_axes={name: {0: "pictures"} for name in ["pixels", *outputs]},
            )
    # Exporters fail with errors of many classes.
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise EncoderError(f"{recipe.name}: not exported ({reason}): name another") from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    _check(recipe, network, OnnxNetwork(file), shown)


def _check(recipe: Recipe, network: TorchNetwork, export: OnnxNetwork, seen: Pixels) -> None:
    pixels = np.concatenate([seen, seen[:1] // 2])  # another number of pictures than exported
    wanted, found = (normalize_rows(made.run(pixels)[0]) for made in (network, export))
    apart = float(np.abs(wanted - found).max())
    if not apart < AGREEMENT:
        raise EncoderError(
            f"{recipe.name}: exported, its vectors are {apart:.1e} from PyTorch's, expected under "
            f"{AGREEMENT}: report this, with the versions of torch and onnxruntime"
        )
