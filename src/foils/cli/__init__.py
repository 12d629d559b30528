"""The command line: parsing only. Each command calls the function of the same name and shows what it returns.

Exit codes: 0 fine, 1 data or a result is refused, 2 what was asked for cannot be understood.
"""

from foils.cli.program import app, main

__all__ = ["app", "main"]
