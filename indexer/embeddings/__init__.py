"""Vectors of words and hashtags: training, reading and searching their spaces."""
