"""Everything that makes an index."""
