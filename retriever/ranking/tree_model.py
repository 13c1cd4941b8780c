"""Boosted trees applied through LightGBM's C interface.

Its Python package imports scikit-learn, which takes longer than a whole query; the library beside
it does not need that. A model file may come from a stranger, and LightGBM follows whatever node
numbers, sizes and offsets it reads: the trees are checked, and written anew for it.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashlens.indexer.errors import HashlensError, IndexCorruptError, unreadable
from hashlens.indexer.types import Floats, Ids

FEW = 2_000  # rows that one thread scores by itself
# LightGBM keeps the number of threads for all calls in one place, and has buffers for as many: a
# call that changes it has another one, under way, write beside its own.
_ASKING = Lock()
_LARGEST = 64 << 20  # bytes of a model file
_MOST_LEAVES = 1_024  # of a tree: LightGBM walks it by recursion
_MOST_FEATURES = 10_000
_MOST_TREES = 10_000
_MOST_CREDITS = 1 << 23  # trees times leaves of the largest times features: 32 MB of credits
_AT_ONCE = 1 << 23  # credits added up at a time
_RAW, _LEAVES = 1, 2  # kinds of prediction
_FLOAT32 = 0
_TREE = re.compile(r"^Tree=\d+$", re.MULTILINE)
# Numbers with one space between: whole ones of at most nine digits, and real ones. A threshold may
# be infinite, which parts what is known from NaN; none is NaN.
_WHOLES = re.compile(r"-?\d{1,9}(?: -?\d{1,9})*", re.ASCII)
_REAL = r"-?(?:\d{1,40}(?:\.\d{0,40})?(?:e[+-]?\d{1,3})?|inf)"
_REALS = re.compile(f"{_REAL}(?: {_REAL})*", re.ASCII)
_OF_NODES = ("split_feature", "decision_type", "left_child", "right_child", "internal_count")


class Trees:
    """A boosted forest: features in, one score out."""

    def __init__(self, text: str) -> None:
        """Take a model as LightGBM writes it.

        Raises:
            IndexCorruptError: it is not such a model, or its trees are not sound.
        """
        self.features, self.text = _checked(text)
        library, iterations = _library(), ctypes.c_int()
        self._handle = ctypes.c_void_p()
        _call(
            *("LGBM_BoosterLoadModelFromString", self.text.encode(), ctypes.byref(iterations)),
            ctypes.byref(self._handle),
        )
        self._free = library.LGBM_BoosterFree

    @classmethod
    def open(cls, path: Path) -> Trees:
        """The forest saved in a file.

        Raises:
            IndexCorruptError: it is missing, too large or not sound.
        """
        try:
            if path.stat().st_size > _LARGEST:
                raise IndexCorruptError(f"{path}: found more than {_LARGEST >> 20} MB of trees")
            return cls(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise unreadable(path, error) from error

    def __del__(self) -> None:
        if getattr(self, "_free", None):
            self._free(self._handle)

    def scores(self, features: Floats, first: int = 0, count: int = -1) -> Floats:
        """The sum of `count` trees from `first` on, float32 (c,), of features float32 (c, h)."""
        return self._predict(features, _RAW, 1, first, count)[:, 0].astype(np.float32)

    def __len__(self) -> int:
        return len(_TREE.findall(self.text))

    def first(self, count: int) -> Trees:
        """The forest of the first trees alone."""
        starts = [found.start() for found in _TREE.finditer(self.text)]
        return Trees(self.text[: starts[count]]) if count < len(starts) else self

    def contributions(self, features: Floats) -> Floats:
        """What each feature adds to each row's sum, float32 (c, h).

        Along a row's path through a tree, each split is credited with what it changes of the mean
        of the posts that come that way (Saabas, "Interpreting random forests", 2014). TreeSHAP
        averages over all orders of the features, at a hundred times the cost.
        """
        table, starts = self._credits
        leaves = self._predict(features, _LEAVES, len(starts)).astype(np.int64)
        found = np.zeros((len(features), self.features), np.float32)
        step = max(1, _AT_ONCE // max(1, len(starts) * self.features))
        for row in range(0, len(features), step):
            found[row : row + step] = table[starts + leaves[row : row + step]].sum(axis=1)
        return found

    @cached_property
    def _credits(self) -> tuple[Floats, Ids]:
        """Of each leaf what each feature adds on the way there, and where each tree's begin."""
        trees = [_fields(block) for block in _TREE.split(self.text)[1:]]
        leaves, means = (_padded(trees, name) for name in ("leaf_value", "internal_value"))
        left, right, split = (
            _padded(trees, name).astype(np.int64)
            for name in ("left_child", "right_child", "split_feature")
        )
        nodes = np.array([len(tree.get("split_feature", "").split()) for tree in trees])
        inside = np.zeros((*means.shape, self.features), np.float32)
        credit = np.zeros((*leaves.shape, self.features), np.float32)
        # All trees at once, node by node: what hangs below a node comes after it.
        for node in range(means.shape[1]):
            with_node = np.flatnonzero(nodes > node)
            for children in (left, right):
                child = children[with_node, node]
                for place, values, here in (
                    (inside, means, child >= 0),
                    (credit, leaves, child < 0),
                ):
                    tree, row = with_node[here], np.where(child < 0, ~child, child)[here]
                    place[tree, row] = inside[tree, node]
                    gain = values[tree, row] - means[tree, node]
                    place[tree, row, split[tree, node]] += gain.astype(np.float32)
        starts = np.arange(len(trees)) * credit.shape[1]
        return credit.reshape(-1, self.features), starts

    def _predict(
        self, features: Floats, kind: int, width: int, first: int = 0, count: int = -1
    ) -> NDArray[np.float64]:
        rows, columns = features.shape
        if columns != self.features:
            raise IndexCorruptError(
                f"ranker: found {self.features} features, expected {columns}; build the index again"
            )
        given = np.ascontiguousarray(features, np.float32)
        found, length = np.zeros((rows, width)), ctypes.c_int64()
        # Threads that meet for a few rows wait for one another longer than they work.
        threads = b"num_threads=1" if rows < FEW else b""
        if rows:
            with _ASKING:
                _call(
                    *("LGBM_BoosterPredictForMat", self._handle, _address(given), _FLOAT32),
                    *(ctypes.c_int32(rows), ctypes.c_int32(columns), 1, kind),
                    *(first, count, threads, ctypes.byref(length), _address(found)),
                )
        return found


def _address(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


@cache
def _library() -> ctypes.CDLL:
    spec = find_spec("lightgbm")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    names = ("lib/lib_lightgbm.so", "lib/lib_lightgbm.dylib", "bin/lib_lightgbm.dll")
    for path in (Path(folder) / name for folder in folders for name in names):
        if path.exists():
            library = ctypes.CDLL(str(path))
            library.LGBM_GetLastError.restype = ctypes.c_char_p
            return library
    raise HashlensError(f"found no LightGBM library in {folders}, expected one; install lightgbm")


def _call(name: str, *arguments: Any) -> None:  # noqa: ANN401 (C values)
    library = _library()
    if getattr(library, name)(*arguments):
        raise IndexCorruptError(f"ranker: LightGBM says {library.LGBM_GetLastError().decode()}")


_HEAD = """tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx={last}
feature_names={names}
feature_infos={infos}

"""


def _checked(text: str) -> tuple[int, str]:
    """Number of features, and the model written anew: LightGBM reads nothing that was not checked.

    Its reader follows offsets, sizes and node numbers that a file names, wherever they lead.
    """
    try:
        head, *blocks = _TREE.split(text.split("\nend of trees", 1)[0])
        features = int(_fields(head)["max_feature_idx"]) + 1
        found = [_fields(block) for block in blocks]
        _check_work(found, features)
        trees = [_rewritten(tree, features) for tree in found]
    except (KeyError, ValueError, OverflowError) as error:
        raise IndexCorruptError(f"ranker: found no sound LightGBM model ({error!r})") from error
    if not trees or not 0 < features <= _MOST_FEATURES:
        raise IndexCorruptError(f"ranker: found {len(trees)} trees of {features} features")
    names = " ".join(f"Column_{number}" for number in range(features))
    written = _HEAD.format(last=features - 1, names=names, infos=" ".join(["none"] * features))
    written += "".join(f"Tree={number}\n{tree}\n\n" for number, tree in enumerate(trees))
    return features, written + "end of trees\n"


def _check_work(trees: Sequence[dict[str, str]], features: int) -> None:
    """Hold a forest to a size whose sums and credits are quick to make.

    Raises:
        ValueError: it is larger.
    """
    longest = max((int(tree["num_leaves"]) for tree in trees), default=0)
    if len(trees) > _MOST_TREES or len(trees) * longest * features > _MOST_CREDITS:
        raise ValueError(
            f"{len(trees)} trees of up to {longest} leaves over {features} features, expected "
            f"{_MOST_TREES} trees at most, and {_MOST_CREDITS} of the three multiplied"
        )


def _fields(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def _rewritten(tree: dict[str, str], features: int) -> str:
    """A tree's lines.

    Raises:
        ValueError: its nodes do not fit together, or it splits by categories or has linear leaves.
    """
    leaves = int(tree["num_leaves"])
    if not 1 <= leaves <= _MOST_LEAVES:
        raise ValueError(f"{leaves} leaves")
    if int(tree["num_cat"]) or int(tree.get("is_linear", "0")):
        raise ValueError("categories or linear leaves")
    lines = [f"num_leaves={leaves}", "num_cat=0", _line(tree, "leaf_value", _REALS, leaves)]
    if leaves > 1:
        lines += [_line(tree, name, _WHOLES, leaves - 1) for name in _OF_NODES]
        lines += [_line(tree, name, _REALS, leaves - 1) for name in ("threshold", "internal_value")]
        lines += [_line(tree, "leaf_count", _WHOLES, leaves)]
        split, decision, left, right = (_whole(tree, name) for name in _OF_NODES[:4])
        if not (split.min() >= 0 and split.max() < features):
            raise ValueError("a split by no feature")
        if (decision & 1).any():
            raise ValueError("a split by categories")
        _check_children(left, right, leaves)
    return "\n".join([*lines, "is_linear=0", "shrinkage=1"])


def _padded(trees: Sequence[dict[str, str]], name: str) -> NDArray[np.float64]:
    """A list of numbers of each tree, (trees, longest), zeros behind."""
    rows = [np.fromstring(tree.get(name, ""), np.float64, sep=" ") for tree in trees]
    found = np.zeros((len(rows), max(map(len, rows))))
    for number, row in enumerate(rows):
        found[number, : len(row)] = row
    return found


def _check_children(left: Ids, right: Ids, leaves: int) -> None:
    """Each node and leaf hangs below one node, and that comes before it: leaves are negative."""
    below, nodes = np.concatenate([left, right]), np.arange(leaves - 1)
    if not np.array_equal(np.sort(below), np.concatenate([np.arange(-leaves, 0), nodes[1:]])):
        raise ValueError("nodes that do not fit together")
    if ((below >= 0) & (below <= np.tile(nodes, 2))).any():
        raise ValueError("a node above itself")


def _line(tree: dict[str, str], name: str, numbers: re.Pattern[str], length: int) -> str:
    """A line as it stands, once it is sure to hold so many numbers of a kind and nothing else."""
    text = tree[name].strip()
    if not numbers.fullmatch(text):
        raise ValueError(f"{name} is no row of numbers in range")
    if text.count(" ") != length - 1:
        raise ValueError(f"{text.count(' ') + 1} numbers of {name}, expected {length}")
    return f"{name}={text}"


def _whole(tree: dict[str, str], name: str) -> Ids:
    return np.fromstring(tree[name], np.int64, sep=" ")
