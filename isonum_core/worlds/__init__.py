"""Numbers: series, and how they become tokens."""
