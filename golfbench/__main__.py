"""``python -m golfbench``: the command line of the interpreter at hand."""

from golfbench.cli.main import main

if __name__ == "__main__":
    main()
