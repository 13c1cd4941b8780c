"""Selection of the short list from ranked candidates."""
