"""A page for people to label in."""

from foils.audit.page.writing import Item, page, write_page

__all__ = ["Item", "page", "write_page"]
