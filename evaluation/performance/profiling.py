"""How much of the time is spent in our own functions, and not in the libraries under them.

By cProfile, which slows Python and not what is compiled, so that shares of ours are upper ends.
"""

from __future__ import annotations

import cProfile
import pstats
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

Figures = dict[str, Any]
Function = tuple[str, int, str]  # file, line and name, as pstats has them

ROOT = Path(__file__).parents[2]
OURS = tuple(f"{ROOT / folder}/" for folder in ("indexer", "retriever", "evaluation"))
# Python's own, which belongs to who calls it.
_BUILTIN = re.compile(
    r"<built-in method builtins\.(?!exec|__import__)"
    r"|<method '\w+' of '(str|bytes|list|tuple|dict|set|frozenset|collections\.\w+)' objects>"
)
# Where LightGBM is called: the profiler takes a foreign function's time for its caller's.
_FOREIGN = {("retriever/ranking/tree_model.py", "_call")}
LARGEST = 5  # functions that are told


def profiled(work: Callable[..., object], *given: object) -> Figures:
    """Seconds of work, the share that is ours, and our functions that take the most of it.

    Args:
        work: what is done; what it returns is left.
        given: what it is given.
    """
    profile = cProfile.Profile()
    profile.runcall(work, *given)
    # Typeshed does not know `stats`, which is what its printed tables are made from.
    stats: dict[Function, tuple[Any, ...]] = vars(pstats.Stats(profile))["stats"]
    own: Counter[str] = Counter()
    for function, (_, _, seconds, _, callers) in stats.items():
        if name := _ours(function):
            own[name] += seconds
        elif _BUILTIN.match(function[2]):
            for caller, spent in callers.items():
                if name := _ours(caller):
                    own[name] += spent[2]
    total = sum(each[2] for each in stats.values())
    largest = [(name, seconds / total) for name, seconds in own.most_common(LARGEST)]
    return {"seconds": total, "ours": own.total() / total, "largest": largest}


def _ours(function: Function) -> str:
    """A function of ours as `file: name`, empty where it is not."""
    file, _, name = function
    if not file.startswith(OURS):
        return ""
    place = Path(file).relative_to(ROOT).as_posix()
    return "" if (place, name) in _FOREIGN else f"{place}: {name}"
