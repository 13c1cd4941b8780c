"""The ranker that joins all channels into one probability."""
