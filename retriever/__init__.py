"""Answers queries from an index; never reads scrapes and never builds an index itself."""
