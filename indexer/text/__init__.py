"""Hashtags and words: the hashtag grammar, the words inside a hashtag, token lists as numbers."""
