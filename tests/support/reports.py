"""Reports without what differs from run to run."""

from __future__ import annotations

from typing import Any


def timeless(value: Any) -> Any:
    """JSON values without times."""
    if isinstance(value, dict):
        return {n: timeless(v) for n, v in value.items() if n not in ("fit_s", "ms_per_query")}
    return [timeless(v) for v in value] if isinstance(value, list) else value
