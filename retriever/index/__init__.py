"""An open index and its parts: reading, ids, habits of authors, block lists."""
