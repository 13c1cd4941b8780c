"""Arrays on disk: rows of vectors written as a stream, and sparse matrices."""
