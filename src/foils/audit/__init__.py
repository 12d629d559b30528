"""How many of the mined negatives are relevant: strata, a judged sample, and estimates with intervals."""
