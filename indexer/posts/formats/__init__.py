"""One reader for each format of posts: tables, scrapes, exports and captioned folders."""
