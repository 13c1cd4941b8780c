"""Commands: options, output, tables and progress bars."""
