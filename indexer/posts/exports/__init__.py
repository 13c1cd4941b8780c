"""Instagram's own export: its parts, ZIP files and labels in any language."""
