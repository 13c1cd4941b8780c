"""Studies of quality: the bundled index, accounts, and repeated updates."""
