"""The JSON forms that hashlens prints and serves; documented in docs/cli.md, versioned."""

from __future__ import annotations

from typing import Any

from hashlens.indexer.errors import HashlensError
from hashlens.retriever.recommendation import Recommendation, ScoredTag

FORMAT = 1
MAX_CAPTION = 10_000  # characters of a caption that is sent or piped


def format_answer(answer: Recommendation, *, evidence: bool) -> dict[str, Any]:
    """The documented form of one answer; `evidence` adds what spoke for each hashtag."""
    tags = [
        {"tag": tag.tag, "display": f"#{tag.display}", "probability": round(tag.probability, 6)}
        | ({"young": True} if tag.is_new else {})
        | (_evidence_json(tag) if evidence else {})
        for tag in answer.tags
    ]
    topics = [{"topic": name, "probability": round(prob, 6)} for name, prob in answer.topics]
    more = {"inputs": list(answer.inputs), "notes": list(answer.notes)} if evidence else {}
    return {"tags": tags, "topics": topics} | more


def format_row(row_id: str, answer: Recommendation | HashlensError) -> dict[str, Any]:
    """The documented form of one answer of many: notes where there are any, or what failed."""
    if isinstance(answer, HashlensError):
        return {"id": row_id, "error": str(answer)}
    notes = {"notes": list(answer.notes)} if answer.notes else {}
    return {"id": row_id} | format_answer(answer, evidence=False) | notes


def _evidence_json(tag: ScoredTag) -> dict[str, Any]:
    parts = [
        {"channel": part.channel, "share": round(part.share, 4), "posts": list(part.posts)}
        for part in tag.evidence
    ]
    return {"tier": tag.tier, "reason": tag.reason, "evidence": parts}
