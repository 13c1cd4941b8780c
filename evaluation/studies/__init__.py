"""Studies of quality: the bundled index, and accounts with posts of their own."""
