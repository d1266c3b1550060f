"""Segments written for those who use them: columns, consent, holdouts, files and deliveries."""
