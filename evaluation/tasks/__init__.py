"""Questions from posts: splits without leaks, inputs, the standard tasks."""
