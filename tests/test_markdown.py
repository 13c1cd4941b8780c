"""The small table of a report, on values worked out by hand."""

from __future__ import annotations

from evaluation.markdown import markdown


def test_methods_stand_down_and_tasks_across() -> None:
    difference = {"diff": 0.05, "low": 0.01, "high": 0.09, "p": 0.002, "against": "ease"}
    report = {
        "tasks": [
            {
                "task": "posts",
                "combinations": [
                    {
                        "inputs": "seeds:2",
                        "methods": [
                            {"method": "ease", "metrics": {"P@5": 0.15, "nDCG@10": 0.3}},
                            {
                                "method": "hashlens",
                                "metrics": {"P@5": 0.2, "nDCG@10": 0.25},
                                "difference": difference,
                            },
                        ],
                    },
                    {
                        "inputs": "caption",
                        "methods": [{"method": "hashlens", "error": "disk full"}],
                    },
                ],
            },
            {"task": "pictures", "topic": {"accuracy": 0.9, "interval": [0.85, 0.95]}},
        ]
    }
    assert markdown(report).splitlines() == [
        "| method | posts: seeds:2 | posts: caption |",
        "| --- | --- | --- |",
        "| ease | .150 / .300 |  |",
        "| hashlens | **.200 / .250** | failed |",
        "",
        "- posts: seeds:2: hashlens +0.050 P@5 [+0.010, +0.090], p 0.0020, "
        "against the best other method, ease",
        "- pictures: topic of a picture, accuracy 0.900 [0.850, 0.950]",
    ]
