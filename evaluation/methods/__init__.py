"""The methods that are compared: simple ones, those of the course report, and hashlens."""
