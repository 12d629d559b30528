"""The sections of a page, a module for each matter."""
