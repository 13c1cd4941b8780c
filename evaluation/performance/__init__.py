"""Speed of builds, queries, updates and the server, compared with other libraries."""
