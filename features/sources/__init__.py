"""Readers of rows: events, records and consents, with validation and quarantine."""
