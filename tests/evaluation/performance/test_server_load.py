"""The measurement of a server, for a second on the sample posts."""

from __future__ import annotations

from pathlib import Path

from hashlens.evaluation.performance.server_load import measure_server


def test_every_request_is_answered_and_counted(sample_index: Path) -> None:
    found = measure_server(sample_index, seconds=1, rates=(40, 35), memory=20)
    assert found["captions"]["statuses"] == found["captions_short"]["statuses"] == {"200": 40}
    assert found["pictures"]["statuses"] == {"200": 35}
    for name in ("captions", "captions_short", "pictures"):
        assert 0 < found[name]["p50_ms"] <= found[name]["p95_ms"]
        assert found[name]["server_cpu_ms"] > 0
        assert found[name]["most"] > 0
    assert len(found["memory_mib"]) == 11
    assert min(found["memory_mib"]) > 50
