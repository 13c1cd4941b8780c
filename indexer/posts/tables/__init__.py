"""Rows of CSV, JSON and Parquet files, streamed and bounded."""
