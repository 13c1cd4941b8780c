"""Candidates: the channels of evidence, and the features of each candidate."""
