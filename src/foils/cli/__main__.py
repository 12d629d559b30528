"""``python -m foils.cli``, where no ``foils`` is on the path, such as under torchrun."""

from foils.cli.program import main

main()
