"""Programs that make the bundled files: the index, its ranker, and the word vectors."""
