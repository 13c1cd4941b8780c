"""Tasks: leak-free splits, queries made from posts, and the standard tasks."""
