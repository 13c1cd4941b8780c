"""Queries: parsing them, and preparing a batch of them for the channels."""
