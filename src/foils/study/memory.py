"""The most memory that this process has held."""

from __future__ import annotations

import sys
from pathlib import Path


def peak_memory() -> float | None:
    """Peak resident memory of this process in MB (10^6 bytes); None where the system does not say.

    On Linux it is ``VmHWM``: what ``getrusage`` gives there begins with that of the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        found = [line for line in status.read_text(encoding="ascii", errors="replace").splitlines() if "VmHWM" in line]
        if found:
            return round(int(found[0].split()[1]) * 1024 / 1e6, 1)
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6, 1)
