"""One page about what was mined, trained or compared: a file that needs no network, or live while a run goes on."""

from foils.report.live import Live, watch
from foils.report.making import Settings, report

__all__ = ["Live", "Settings", "report", "watch"]
