"""The share of time in hashlens's own functions, apart from the libraries that they call.

cProfile slows Python down but not compiled code, so the shares of hashlens are upper bounds.
"""

from __future__ import annotations

import cProfile
import os
import pstats
import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from hashlens.evaluation.result_files import Json

Function = tuple[str, int, str]  # file, line and name, as in pstats

ROOT = Path(__file__).resolve().parents[2]
OURS = tuple(f"{ROOT / folder}/" for folder in ("indexer", "retriever", "evaluation"))
# Built-in functions, whose time counts for their caller.
_BUILTIN = re.compile(
    r"<built-in method builtins\.(?!exec|__import__)"
    r"|<method '\w+' of '(str|bytes|list|tuple|dict|set|frozenset|collections\.\w+)' objects>"
)
# The call of LightGBM: the profiler counts a foreign function's time for its caller.
_FOREIGN = {("retriever/ranking/tree_model.py", "_call")}
_resolve = cache(os.path.realpath)  # an editable install may reach files through links
MAX_FUNCTIONS = 5  # in the result


def profile_work(work: Callable[..., object], *arguments: object) -> Json:
    """Return the seconds of work, the share of hashlens, and its slowest functions.

    Args:
        work: a function; its result is ignored.
        arguments: of the function.
    """
    profile = cProfile.Profile()
    profile.runcall(work, *arguments)
    # `stats` holds the figures of the printed tables; typeshed does not know it.
    stats: dict[Function, tuple[Any, ...]] = vars(pstats.Stats(profile))["stats"]
    own: Counter[str] = Counter()
    for function, (_, _, seconds, _, callers) in stats.items():
        if name := _name_own(function):
            own[name] += seconds
        elif _BUILTIN.match(function[2]):
            for caller, figures in callers.items():
                if name := _name_own(caller):
                    own[name] += figures[2]
    total = sum(each[2] for each in stats.values())
    largest = [(name, seconds / total) for name, seconds in own.most_common(MAX_FUNCTIONS)]
    return {"seconds": total, "ours": own.total() / total, "largest": largest}


def _name_own(function: Function) -> str:
    """Return a function of hashlens as `file: name`, and an empty string for others."""
    file, _, name = function
    file = _resolve(file)
    if not file.startswith(OURS):
        return ""
    place = Path(file).relative_to(ROOT).as_posix()
    return "" if (place, name) in _FOREIGN else f"{place}: {name}"
