"""Numpy and Arrow only: values, their text form, and the per-query mathematics. Knows no model."""
