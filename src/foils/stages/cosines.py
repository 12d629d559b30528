"""Some formulas hold for unit vectors only: scores that must be cosines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foils.core.errors import PipelineError
from foils.core.spec import Declared

SLACK = 1e-3  # beyond 1: half-precision vectors are not exactly of unit length


def cosines(scores: NDArray[np.floating], by: str, stage: Declared) -> NDArray[np.float64]:
    """Scores as cosines, float64 (n,), clipped to [-1, 1]; NaN stays NaN.

    Args:
        scores: shape (n,).
        by: their column, for the message.
        stage: who needs cosines, for the message.

    Raises:
        PipelineError: a score is beyond [-1, 1], so the vectors are not of unit length.
    """
    wide: NDArray[np.float64] = scores.astype(np.float64)
    beyond = np.abs(wide) > 1 + SLACK
    if beyond.any():
        raise PipelineError(
            f"{stage!r}: {int(beyond.sum()):,} of {len(wide):,} scores {by!r} are beyond [-1, 1], such as "
            f"{wide[beyond][0]:.4g}; its formula needs cosines. Use an encoder that normalises its vectors."
        )
    return np.clip(wide, -1.0, 1.0)
