"""Whether an index is sound: its files, rows, vectors and counts."""
