"""Everything that answers; never reads scrapes, never builds."""
