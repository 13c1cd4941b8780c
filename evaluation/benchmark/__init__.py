"""The benchmark: runs, scores, cached results and reports."""
