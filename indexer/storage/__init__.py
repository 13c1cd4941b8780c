"""DuckDB: posts and hashtags, the statistics over them, and matrices of counts."""
