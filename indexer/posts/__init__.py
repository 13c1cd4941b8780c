"""Posts: rows of any format parsed into posts, near-duplicates found, spooled for a build."""
