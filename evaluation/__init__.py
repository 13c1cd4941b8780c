"""Everything that judges; never touches FAISS or DuckDB itself."""
