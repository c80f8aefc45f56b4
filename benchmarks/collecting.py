"""How busy a real run keeps its oracle workers while it collects labels.

    python benchmarks/collecting.py
    python benchmarks/collecting.py --executor parsl --workers 8 --lag 0

A run of ``golfbench`` on druglike-mini with a tiny PaiNN and MMFF94 as genuine oracle, whose calls take 0.5 s longer
by sleep, so that more workers than cores can be busy. The ledger then says how busy the workers were while training
labels were collected (first start to last end), and how long the run stood still for answers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

#: The plugin with the oracle ``slow-mmff94``.
ENGINES = Path(__file__).parents[1] / "tests" / "engines"


def main() -> None:
    """Run and print the status of the purpose ``training``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executor", default="local")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--budget", type=int, default=256)
    parser.add_argument("--lag", type=int, default=1)
    parser.add_argument("--no-deterministic", action="store_true")
    options = parser.parse_args()
    config = {
        "models": ["painn:features=8,interactions=1,radial=8"],
        "oracles": ["slow-mmff94:seconds=0.5"],
        "references": [],
        "selections": ["random"],
        "budget": options.budget,
        "limit": 40,
        "checkpoint": "none",
        "baseline": {"updates": 20},
        "golf": {
            "parallel": 32,
            "steps": 5,
            "inner_steps": 1,
            "updates_per_label": 1,
            "lag": options.lag,
            "deterministic": not options.no_deterministic,
        },
        "protocol": {"steps": 2, "reference_steps": 60},
        "cache": "off",
    }
    path = os.pathsep.join(filter(None, [str(ENGINES), os.environ.get("PYTHONPATH")]))
    with TemporaryDirectory() as folder:
        (Path(folder) / "run.yaml").write_text(yaml.safe_dump(config))
        golfbench = [sys.executable, "-m", "golfbench"]
        run = ["run", "run.yaml", "--output", "out", "--executor", options.executor, "--workers", str(options.workers)]
        environment = {**os.environ, "PYTHONPATH": path}
        subprocess.run([*golfbench, *run], cwd=folder, env=environment, stdout=subprocess.DEVNULL)
        (directory,) = (Path(folder) / "out").iterdir()
        status = [*golfbench, "status", str(directory), "--json"]
        found = subprocess.run(status, env=environment, check=True, capture_output=True, text=True).stdout
    for purpose in json.loads(found)["purposes"]:
        if purpose["purpose"] == "training":
            print(f"{options.executor}, {options.workers} workers, lag {options.lag}:", json.dumps(purpose, indent=1))


if __name__ == "__main__":
    main()
