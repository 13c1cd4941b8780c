"""An index on disk: sealed folders, each published by one atomic rename, with their manifest."""
