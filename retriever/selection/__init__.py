"""From ranked candidates to the short list that is shown."""
