"""Programs that make what ships: the bundled index, its ranker and the word vectors."""
