"""Erasure: where a forgotten person still is, and vocabularies without their words."""
