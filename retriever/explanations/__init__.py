"""Reasons: the posts behind each hashtag, and a sentence for each."""
