"""Functions that stand in for those of other tools."""
