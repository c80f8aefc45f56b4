"""``python -m golfbench.cli.part DIRECTORY``: the part of a grid that belongs to this interpreter's environment.

Started by ``golfbench run`` of another environment, which holds the run directory. The configuration and the share come
on stdin, a line each; what the manifest says of the part goes to stdout.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from golfbench.cli import console
from golfbench.cli.main import INTERRUPTED, interrupt
from golfbench.cli.streams import open_streams
from golfbench.errors import GolfbenchError
from golfbench.threads import limit_threads


def main() -> int:
    """Run the part and return the exit code."""
    open_streams()
    limit_threads()
    signal.signal(signal.SIGTERM, interrupt)
    from golfbench.runs.baseline import Permission
    from golfbench.runs.config import RunConfig
    from golfbench.runs.directory import RunDirectory
    from golfbench.runs.runner import run_here
    from golfbench.runs.shards import Share

    try:
        config = RunConfig.model_validate_json(sys.stdin.readline())
        share = Share.model_validate_json(sys.stdin.readline())
        directory, permission = RunDirectory(Path(sys.argv[1])), Permission("--unsafe" in sys.argv[2:], console.note)
        with directory.logged(), console.Progress() as progress:
            facts = run_here(config, directory, progress, permission, share, {})
    except GolfbenchError as error:
        console.fail(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    print(facts.model_dump_json())
    return 0


if __name__ == "__main__":
    sys.exit(main())
