"""Vector search: FAISS indexes, immutable segments of them, and collections in Milvus."""
