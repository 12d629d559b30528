"""One YAML file per published method, headed by its citation and the command that runs it."""
