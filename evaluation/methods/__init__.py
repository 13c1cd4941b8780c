"""The compared methods: simple ones, those of the course report, and hashlens."""
