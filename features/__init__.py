"""What we know of a person at a moment. Knows nothing of models."""
