"""Scores put to use: the scoring service, segments and exports."""
