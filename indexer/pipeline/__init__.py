"""The commands that write an index: build, update, compact and forget."""
