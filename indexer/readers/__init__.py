"""Readers of what people have: tables, scrapes and exports into rows; one file for each form."""
