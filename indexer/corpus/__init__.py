"""The posts of a build or retraining, read, deduplicated, encoded and trained on."""
