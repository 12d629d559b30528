"""Files of negatives that other tools write: which layout it is, what it lists, and what that is in a collection."""

from foils.core.foreign.layouts import READABLE
from foils.core.foreign.listing import Listing, is_run, read_listing
from foils.core.foreign.resolve import Resolved, pairs_from, resolve

__all__ = ["READABLE", "Listing", "Resolved", "is_run", "pairs_from", "read_listing", "resolve"]
