"""The unified profile: merged attributes, consents and contacts."""
