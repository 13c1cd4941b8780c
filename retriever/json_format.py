"""The JSON forms that hashlens prints and serves; documented in docs/cli.md, versioned."""

from __future__ import annotations

from typing import Any

from hashlens.indexer.errors import HashlensError
from hashlens.retriever.recommendation import Recommendation

FORMAT = 1
MAX_CAPTION = 10_000  # characters of a caption that is sent or piped


def format_answer(answer: Recommendation, *, evidence: bool) -> dict[str, Any]:
    """Return the documented form of one answer; `evidence` adds each hashtag's tier and reason."""
    tags = []
    for tag in answer.tags:
        form: dict[str, Any] = {"tag": tag.tag, "display": f"#{tag.display}"}
        form["probability"] = round(tag.probability, 6)
        if tag.is_new:
            form["young"] = True
        if evidence:
            parts = [
                {"channel": part.channel, "share": round(part.share, 4), "posts": list(part.posts)}
                for part in tag.evidence
            ]
            form |= {"tier": tag.tier, "reason": tag.reason, "evidence": parts}
        tags.append(form)
    topics = [{"topic": name, "probability": round(prob, 6)} for name, prob in answer.topics]
    more = {"inputs": list(answer.inputs), "notes": list(answer.notes)} if evidence else {}
    return {"tags": tags, "topics": topics} | more


def format_row(row_id: str, answer: Recommendation | HashlensError) -> dict[str, Any]:
    """Return the documented form of one answer of many: with notes if any, or with its error."""
    if isinstance(answer, HashlensError):
        return {"id": row_id, "error": str(answer)}
    notes = {"notes": list(answer.notes)} if answer.notes else {}
    return {"id": row_id} | format_answer(answer, evidence=False) | notes
