"""Transformers: checkpoints at a pinned revision, and named sites whose states become moments."""
