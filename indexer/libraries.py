"""Libraries of the extras: a check that they are installed, before work that needs them."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from hashlens.indexer.errors import SetupError


def require_libraries(names: Iterable[str], need: str, extra: str) -> None:
    """Check that libraries are installed; none is imported.

    Args:
        names: under which they are imported.
        need: subject and verb of who needs them, such as "GloVe vectors need".
        extra: name of the extra that brings them.

    Raises:
        SetupError: one is missing.
    """
    for name in names:
        if find_spec(name) is None:
            raise SetupError(f'found no {name}, which {need}: pip install "hashlens[{extra}]"')
