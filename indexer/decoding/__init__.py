"""Picture files: what they are, and decoding them in processes that can be killed."""
