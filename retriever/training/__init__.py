"""Training of the ranker on an index's own posts, by cross-fitting."""
