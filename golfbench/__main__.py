"""``python -m golfbench``: the command line of this interpreter."""

from golfbench.cli.main import main

if __name__ == "__main__":
    main()
