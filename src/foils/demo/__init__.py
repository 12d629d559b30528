"""A real collection from the documentation of the Python on this machine: no download, nothing imported or run.

Query: the summary of a documentation string (its first paragraph). Document: the rest of it. Name and module are
metadata, not text, so that the summary has to be matched with what the object does.
"""

from foils.demo.making import build

__all__ = ["build"]
