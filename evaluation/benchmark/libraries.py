"""What methods and plots are made with besides, which the plain installation does without."""

from __future__ import annotations

from importlib.util import find_spec

from hashlens.indexer.errors import SetupError

LIBRARIES = ("bm25s", "matplotlib", "sklearn")  # of the extra `benchmark`


def check_libraries() -> None:
    """Say at once what hours later would be missing.

    Raises:
        SetupError: a library is not installed.
    """
    for name in LIBRARIES:
        if find_spec(name) is None:
            raise SetupError(
                f"found no {name}, which methods and plots of the benchmark need: "
                'pip install "hashlens[benchmark]"'
            )
