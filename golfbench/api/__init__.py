"""The Python interface: what ``golfbench`` offers by name. It prints nothing, ends no process, and raises typed errors.

The names are those of the command line and do what its verbs do; ``docs/python.md`` describes them.
"""
