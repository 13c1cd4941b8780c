"""Picture encoders: the networks, their weights and exports, and the cache of both."""
