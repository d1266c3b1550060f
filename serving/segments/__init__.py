"""Named lists of people: definitions, who is in them, and what changed since the last build."""
