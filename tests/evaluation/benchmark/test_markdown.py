"""The Markdown tables of a report, on values worked out by hand."""

from __future__ import annotations

from hashlens.evaluation.benchmark.markdown import format_markdown


def test_the_table_has_rows_of_methods_and_columns_of_tasks() -> None:
    spread = {"low": 0.01, "high": 0.09, "p": 0.002, "against": "ease"}
    differences = {
        "P@5": {"diff": 0.05, "ratio": 4 / 3} | spread,
        "nDCG@10": {"diff": -0.05, "ratio": None} | spread,
    }
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
                                "differences": differences,
                                "calibration": {"error": 0.0123},
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
    assert format_markdown(report).splitlines() == [
        "| method | posts: seeds:2 | posts: caption |",
        "| --- | --- | --- |",
        "| ease | .150 / .300 |  |",
        "| hashlens | **.200 / .250** | failed |",
        "",
        "- posts: seeds:2: P@5 +0.050 (1.33 times) [+0.010, +0.090] against ease; "
        "nDCG@10 -0.050 [+0.010, +0.090] against ease; calibration error 0.012",
        "- pictures: topic of a picture, accuracy 0.900 [0.850, 0.950]",
    ]


def test_left_out_collections_follow_the_accuracy() -> None:
    left_out = {"errors": 12, "head_errors": 1234, "origins": [{"origin": "cats", "accuracy": 0.5}]}
    topic = {"accuracy": 0.9, "interval": [0.85, 0.95], "left_out": left_out}
    (line,) = [
        line
        for line in format_markdown({"tasks": [{"task": "pictures", "topic": topic}]}).splitlines()
        if line.startswith("- ")
    ]
    assert line == (
        "- pictures: topic of a picture, accuracy 0.900 [0.850, 0.950]; left-out collections: "
        "12 errors, 1,234 by the plain logistic head (cats 0.50)"
    )


def test_gains_of_channels_have_a_table_of_their_own() -> None:
    gain = {"nDCG@10": {"diff": 0.0123, "low": 0.001, "high": 0.02}}
    noise = {"nDCG@10": {"diff": -0.0004, "low": -0.002, "high": 0.001}}
    channels = {"spelled": {"ms": 0.25, "gain": gain}, "linear": {"ms": 1.0, "gain": noise}}
    task = {"task": "posts", "combinations": [], "ablation": {"caption": {"channels": channels}}}
    lines = format_markdown({"tasks": [task]}).splitlines()
    assert "| without | posts: caption |" in lines
    assert "| spelled | **+0.0123**, 0.2 ms |" in lines
    assert "| linear | -0.0004, 1.0 ms |" in lines
