"""How the teacher of the tests is taught."""

from __future__ import annotations

from foils.teach import TeachOptions

FAST = TeachOptions(learning_rate=2e-2, epochs=8, dev_share=0.25, loss="listwise", batch_size=8)
