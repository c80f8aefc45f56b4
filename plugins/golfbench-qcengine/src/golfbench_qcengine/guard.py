"""Ends what a killed process left behind: ``python guard.py PROCESS_GROUP FOLDER``.

QCEngine's programs are children that do not notice the end of their parent: a calculation of hours would go on as an
orphan and its scratch files would stay. This process waits for the end of its standard input, whose other end the
parent holds and nobody else, which is how a killed parent is noticed, too. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time

#: Processes that were killed may hold or write files for a moment; the folder is removed within this time (s).
_PATIENCE_S = 10.0


def main() -> None:
    """Wait for the parent's end; then kill its process group and remove the folder."""
    group, folder = int(sys.argv[1]), sys.argv[2]
    sys.stdin.buffer.read()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    deadline = time.monotonic() + _PATIENCE_S
    while os.path.exists(folder) and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)


if __name__ == "__main__":
    main()
