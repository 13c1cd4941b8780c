"""The benchmark: runs, scores, cached parts and reports."""
