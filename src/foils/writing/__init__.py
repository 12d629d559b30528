"""Texts written for training: negatives and positives of queries, and queries of documents; checked, tagged, apart."""

from foils.writing.author import Author, Desk, Wanted
from foils.writing.draft import Draft, Edit, Role
from foils.writing.from_file import FromFile

__all__ = ["Author", "Desk", "Draft", "Edit", "FromFile", "Role", "Wanted"]
