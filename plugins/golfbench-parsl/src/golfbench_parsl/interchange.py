"""Parsl's interchange in a session of its own: ``python -m golfbench_parsl.interchange PID [FOLDER]``.

A Ctrl-C at the terminal is the business of the process that asks for labels: it reaches the whole foreground process
group, and an interchange that dies of it takes the running calls with it. When process PID is gone, killed without a
chance to clean up, the interchange ends too and removes FOLDER; the workers follow when they miss its heartbeat.
"""

from __future__ import annotations

import os
import runpy
import shutil
import sys
import threading
import time

_LOOK_EVERY_S = 1.0


def main() -> None:
    """Serve until terminated or orphaned."""
    client, folder = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
    os.setsid()
    threading.Thread(target=_end_with, args=(client, folder), daemon=True).start()
    runpy.run_module("parsl.executors.high_throughput.interchange", run_name="__main__", alter_sys=True)


def _end_with(client: int, folder: str) -> None:
    while os.getppid() == client:
        time.sleep(_LOOK_EVERY_S)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    main()
