"""Evaluation: quality of answers, comparison with other methods, speed, and bundled files."""
