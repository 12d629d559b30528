"""Prompts for language models, one per file: ``foils prompts`` lists them."""
