"""The fault scripts, a few rounds of each; `docs/reliability.md` has the figures of many."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


EXPECTED = (
    r"kills, seed \d+: 2 rounds: \d killed, .* every one opened, verified clean",
    r"flips, seed \d+: 2 rounds over 1\d\d files .*verify named every damaged file",
    r"forgeries, seed \d+: 2 rounds: asked: .*no process crashed",
    r"readers, seed \d+: 4 readers through 1 updates: .*one answer a generation",
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_few_rounds_of_each() -> None:
    faults = ("kills", "flips", "forgeries", "readers", "--rounds=2", "--updates=1")
    command = [sys.executable, "-m", "tests.reliability.faults", *faults]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    for expected, line in zip(EXPECTED, found.stdout.splitlines(), strict=True):
        assert re.match(expected, line), line
