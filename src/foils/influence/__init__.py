"""Which negatives drove a training run, and what sets them apart in language."""
