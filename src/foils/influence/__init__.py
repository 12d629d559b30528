"""Which negatives drove a training run, and what sets them apart in language.

Training counts (`foils.train.influence`) where ``influence=True`` or ``foils train --influence`` asks for it.
"""

from foils.influence.listing import listed, used
from foils.influence.record import Influence

__all__ = ["Influence", "listed", "used"]
