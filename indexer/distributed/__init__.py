"""Builds on several machines with Ray."""
