"""Speed: builds, queries, updates and the server, beside other libraries."""
