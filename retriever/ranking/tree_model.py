"""Boosted trees, evaluated through LightGBM's C interface.

A model file may come from a stranger, and LightGBM follows any node number, size and offset that it
reads. The trees are therefore checked, and the model text is written anew before it is loaded.
"""

# Measured: `lightgbm.Booster` imports SciPy, 1.24 times the CPU time of a `recommend`; so ctypes.

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

MIN_PARALLEL_ROWS = 2_000  # fewer rows are scored by one thread
# LightGBM keeps one number of threads for all calls, and buffers for as many threads. A call that
# changes it would make a concurrent call write outside its buffers.
_PREDICTING = Lock()
_MAX_BYTES = 64 << 20  # of a model file
_MAX_LEAVES = 1_024  # of a tree: LightGBM walks it by recursion
_MAX_FEATURES = 10_000
_MAX_TREES = 10_000
_MAX_CREDITS = 1 << 23  # trees times leaves of the largest times features: 32 MB
_MAX_CREDITS_PER_STEP = 1 << 23  # credits added up at a time
_RAW, _LEAVES = 1, 2  # kinds of prediction
_FLOAT32 = 0
_TREE = re.compile(r"^Tree=\d+$", re.MULTILINE)
# Numbers with one space between: integers of at most nine digits, and real numbers. A threshold may
# be infinite, which separates known values from NaN; none is NaN.
_INTEGERS = re.compile(r"-?\d{1,9}(?: -?\d{1,9})*", re.ASCII)
_REAL = r"-?(?:\d{1,40}(?:\.\d{0,40})?(?:e[+-]?\d{1,3})?|inf)"
_REALS = re.compile(f"{_REAL}(?: {_REAL})*", re.ASCII)
_NODE_LISTS = ("split_feature", "decision_type", "left_child", "right_child", "internal_count")
_HEAD = """tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx={last}
feature_names={names}
feature_infos={infos}

"""


class TreeModel:
    """A boosted forest: features in, one score out."""

    def __init__(self, text: str) -> None:
        """Load a model as LightGBM writes it.

        Raises:
            IndexCorruptError: the text is no such model, or its trees are invalid.
        """
        self.features, self.text = _sanitize(text)
        library, iterations = _library(), ctypes.c_int()
        self._handle = ctypes.c_void_p()
        _call(
            *("LGBM_BoosterLoadModelFromString", self.text.encode(), ctypes.byref(iterations)),
            ctypes.byref(self._handle),
        )
        self._free = library.LGBM_BoosterFree

    @classmethod
    def open(cls, path: Path) -> TreeModel:
        """Load the forest saved in a file.

        Raises:
            IndexCorruptError: it is missing, too large or invalid.
        """
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise IndexCorruptError(f"{path}: found more than {_MAX_BYTES >> 20} MB of trees")
            return cls(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise unreadable(path, error) from error

    def __del__(self) -> None:
        if getattr(self, "_free", None):
            self._free(self._handle)

    def scores(self, features: Floats, first: int = 0, count: int = -1) -> Floats:
        """Return the sum of `count` trees from `first` on, float32 (c,), for float32 (c, h)."""
        return self._predict(features, _RAW, 1, first, count)[:, 0].astype(np.float32)

    def __len__(self) -> int:
        return len(_TREE.findall(self.text))

    def first(self, count: int) -> TreeModel:
        """Return the forest of the first trees alone."""
        starts = [found.start() for found in _TREE.finditer(self.text)]
        return TreeModel(self.text[: starts[count]]) if count < len(starts) else self

    def contributions(self, features: Floats) -> Floats:
        """Return what each feature adds to each row's sum, float32 (c, h).

        Along a row's path through a tree, each split is credited with its change of the mean value
        (Saabas, "Interpreting random forests", 2014). TreeSHAP averages over all orders of the
        features, at a hundred times the cost.
        """
        table, starts = self._credits
        leaves = self._predict(features, _LEAVES, len(starts)).astype(np.int64)
        found = np.zeros((len(features), self.features), np.float32)
        step = max(1, _MAX_CREDITS_PER_STEP // max(1, len(starts) * self.features))
        for row in range(0, len(features), step):
            found[row : row + step] = table[starts + leaves[row : row + step]].sum(axis=1)
        return found

    @cached_property
    def _credits(self) -> tuple[Floats, Ids]:
        """Return each leaf's contribution by feature, and the first leaf of each tree."""
        trees = [_fields(block) for block in _TREE.split(self.text)[1:]]
        leaves, means = (_padded_lists(trees, name) for name in ("leaf_value", "internal_value"))
        left, right, split = (
            _padded_lists(trees, name).astype(np.int64)
            for name in ("left_child", "right_child", "split_feature")
        )
        nodes = np.array([len(tree.get("split_feature", "").split()) for tree in trees])
        inside = np.zeros((*means.shape, self.features), np.float32)
        credit = np.zeros((*leaves.shape, self.features), np.float32)
        # All trees at once, node by node: a node's children come after it.
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
        # For few rows, threads wait for one another longer than they work.
        threads = b"num_threads=1" if rows < MIN_PARALLEL_ROWS else b""
        if rows:
            with _PREDICTING:
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


def _sanitize(text: str) -> tuple[int, str]:
    """Return the number of features, and the model text rewritten from checked values.

    The work of sums and contributions is bounded, too.
    """
    try:
        head, *blocks = _TREE.split(text.split("\nend of trees", 1)[0])
        features = int(_fields(head)["max_feature_idx"]) + 1
        found = [_fields(block) for block in blocks]
        longest = max((int(tree["num_leaves"]) for tree in found), default=0)
        if len(found) > _MAX_TREES or len(found) * longest * features > _MAX_CREDITS:
            raise ValueError(
                f"{len(found)} trees of up to {longest} leaves over {features} features, expected "
                f"{_MAX_TREES} trees at most, and {_MAX_CREDITS} of the three multiplied"
            )
        trees = [_rewrite_tree(tree, features) for tree in found]
    except (KeyError, ValueError, OverflowError) as error:
        raise IndexCorruptError(f"ranker: found no sound LightGBM model ({error!r})") from error
    if not trees or not 0 < features <= _MAX_FEATURES:
        raise IndexCorruptError(f"ranker: found {len(trees)} trees of {features} features")
    names = " ".join(f"Column_{number}" for number in range(features))
    written = _HEAD.format(last=features - 1, names=names, infos=" ".join(["none"] * features))
    written += "".join(f"Tree={number}\n{tree}\n\n" for number, tree in enumerate(trees))
    return features, written + "end of trees\n"


def _fields(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def _rewrite_tree(tree: dict[str, str], features: int) -> str:
    """Return a tree's lines.

    Raises:
        ValueError: its nodes do not fit together, or it splits by categories or has linear leaves.
    """
    leaves = int(tree["num_leaves"])
    if not 1 <= leaves <= _MAX_LEAVES:
        raise ValueError(f"{leaves} leaves")
    if int(tree["num_cat"]) or int(tree.get("is_linear", "0")):
        raise ValueError("categories or linear leaves")
    lines = [f"num_leaves={leaves}", "num_cat=0", _checked_line(tree, "leaf_value", _REALS, leaves)]
    if leaves > 1:
        lines += [_checked_line(tree, name, _INTEGERS, leaves - 1) for name in _NODE_LISTS]
        means = ("threshold", "internal_value")
        lines += [_checked_line(tree, name, _REALS, leaves - 1) for name in means]
        lines += [_checked_line(tree, "leaf_count", _INTEGERS, leaves)]
        split, decision, left, right = (
            np.fromstring(tree[name], np.int64, sep=" ") for name in _NODE_LISTS[:4]
        )
        if not (split.min() >= 0 and split.max() < features):
            raise ValueError("a split by no feature")
        if (decision & 1).any():
            raise ValueError("a split by categories")
        # Each node and leaf has one parent, which comes before it; leaves are negative.
        children, nodes = np.concatenate([left, right]), np.arange(leaves - 1)
        expected = np.concatenate([np.arange(-leaves, 0), nodes[1:]])
        if not np.array_equal(np.sort(children), expected):
            raise ValueError("nodes that do not fit together")
        if ((children >= 0) & (children <= np.tile(nodes, 2))).any():
            raise ValueError("a node above itself")
    return "\n".join([*lines, "is_linear=0", "shrinkage=1"])


def _padded_lists(trees: Sequence[dict[str, str]], name: str) -> NDArray[np.float64]:
    """Return a list of numbers of each tree, (trees, longest), padded with zeros."""
    rows = [np.fromstring(tree.get(name, ""), np.float64, sep=" ") for tree in trees]
    found = np.zeros((len(rows), max(map(len, rows))))
    for number, row in enumerate(rows):
        found[number, : len(row)] = row
    return found


def _checked_line(tree: dict[str, str], name: str, numbers: re.Pattern[str], length: int) -> str:
    """Return a line of the model that contains exactly `length` numbers of a kind.

    Raises:
        ValueError: it contains anything else.
    """
    text = tree[name].strip()
    if not numbers.fullmatch(text):
        raise ValueError(f"{name} is no row of numbers in range")
    if text.count(" ") != length - 1:
        raise ValueError(f"{text.count(' ') + 1} numbers of {name}, expected {length}")
    return f"{name}={text}"
