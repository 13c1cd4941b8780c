"""An open index: its reader, id maps, author priors and block lists."""
