"""The tests of hashlens."""
