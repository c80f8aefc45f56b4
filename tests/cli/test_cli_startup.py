import json
import os
import resource
import subprocess
import sys

import pytest

from golfbench.threads import THREAD_VARIABLES, WAIT_VARIABLE, limit_threads

HEAVY = {"torch", "rdkit", "ase", "numpy"}
PROBE = """
import json, sys
from golfbench.cli.main import main
try:
    main()
finally:
    sys.stderr.write("\\nLOADED " + json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
#: What is promised is 0.5 s; a busy machine gets three times as much.
LIMIT_S = 1.5


def _cpu_seconds_of_children():
    """CPU time, which other work on the machine hardly changes."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["run", "--help"], ["plugins", "list"], ["plugins", "list", "--json"], ["models", "list"], ["doctor"]],
)
def test_listing_loads_nothing_heavy_and_is_quick(arguments):
    seconds = []
    for _ in range(3):
        started = _cpu_seconds_of_children()
        done = subprocess.run([sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True)
        seconds.append(_cpu_seconds_of_children() - started)
    loaded = set(json.loads(done.stderr.partition("LOADED ")[2]))
    assert done.stdout
    assert loaded >= {"golfbench", "typer", "pluggy"}
    assert not loaded & HEAVY
    assert min(seconds) < LIMIT_S


def test_help_and_the_suite_need_no_pydantic_before_a_command_runs():
    """Typer itself takes pydantic to convert values, where it is installed."""
    code = (
        "from golfbench.cli.main import build_app; from golfbench.registry import registry; build_app(); registry(); "
    )
    code += "import sys; print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    done = subprocess.run([sys.executable, "-c", PROBE, "--help"], capture_output=True, text=True, check=True)
    assert "pydantic" not in json.loads(done.stderr.partition("LOADED ")[2])


def test_threads_are_limited_before_anything_heavy_is_loaded():
    code = (
        "import os, sys\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "sys.argv = ['golfbench', '--version']\n"
        "from golfbench.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print(*[os.environ[name] for name in {(*THREAD_VARIABLES, WAIT_VARIABLE)}])\n"
    )
    environment = {key: value for key, value in os.environ.items() if key not in THREAD_VARIABLES}
    environment["OPENBLAS_NUM_THREADS"] = "3"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines()[1] == "1 1 3 1 1 PASSIVE"


@pytest.mark.parametrize(
    ("given", "torch_threads", "blas_threads"),
    [
        ({}, "3", "1"),
        ({"OMP_NUM_THREADS": "2"}, "2", "1"),
        ({"MKL_NUM_THREADS": "2"}, "2", "1"),
        ({"OMP_NUM_THREADS": "2,1"}, "2", "1"),
        ({"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "4"}, "2", "4"),
    ],
)
def test_numpy_has_one_thread_and_torch_what_the_user_gave(given, torch_threads, blas_threads, monkeypatch):
    monkeypatch.setattr("golfbench.threads.usable_cpus", lambda: 3)
    environment = dict(given)
    limit_threads(environment)
    assert environment["MKL_NUM_THREADS"] == torch_threads
    assert environment["OMP_NUM_THREADS"] == given.get("OMP_NUM_THREADS", torch_threads)
    assert environment["OPENBLAS_NUM_THREADS"] == blas_threads
    assert environment["BLIS_NUM_THREADS"] == environment["VECLIB_MAXIMUM_THREADS"] == "1"


def test_torch_takes_the_number_that_the_user_gave():
    """torch prefers the number of MKL: set apart from that of OpenMP, it would undo what the user said."""
    code = "from golfbench.threads import limit_threads; limit_threads(); import torch; print(torch.get_num_threads())"
    environment = {key: value for key, value in os.environ.items() if key not in THREAD_VARIABLES}
    environment["OMP_NUM_THREADS"] = "1"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "1\n"
