"""Lint a file of negatives of any tool against its collection."""
