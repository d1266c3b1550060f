"""Events as they happen: judged, written to disk, and read by the next run as one more source."""
