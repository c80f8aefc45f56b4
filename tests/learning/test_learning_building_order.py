"""Whatever is imported and built first, a network has the same weights and the process stays as it was."""

import itertools
import json
import os
import subprocess
import sys

import pytest

MODELS = (
    "painn:preset=small,features=8,interactions=1,radial=4",
    "schnet:preset=small,features=8,interactions=1,radial=4",
    "mace:channels=4,harmonics=1,readout=4,radial_mlp=8",
    "nequip:features=4,layers=1,radial_neurons=8",
    "so3lr:features=8,heads=2,layers=1,radial=4,degrees=1 2",
)
CODE = """
import hashlib, json, logging, os, random, sys, warnings
import numpy, torch
from golfbench.learning.checkpoint import content_hash
from golfbench.learning.opening import new_network
from golfbench.specs import ComponentRef
def state():
    return [sorted(os.environ.items()), str(torch.get_default_dtype()), hashlib.sha256(
        repr([random.getstate(), numpy.random.get_state(), torch.get_rng_state().tolist()]).encode()).hexdigest(),
        len(warnings.filters), [str(h) for h in logging.root.handlers], logging.root.level]
before = state()
hashes = {name: content_hash(new_network(ComponentRef.parse(name), 5).state_dict()) for name in sys.argv[1:]}
print(json.dumps({"hashes": hashes, "same": before == state()}))
"""
ORDERS = (MODELS, MODELS[::-1], (MODELS[2], MODELS[0], MODELS[4], MODELS[3], MODELS[1]))


@pytest.fixture(scope="module")
def built():
    pytest.importorskip("golfbench_mace")
    pytest.importorskip("golfbench_nequip")
    pytest.importorskip("golfbench_so3lr")
    results = []
    for order in ORDERS:
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        done = subprocess.run(
            [sys.executable, "-c", CODE, *order], capture_output=True, text=True, check=True, env=environment
        )
        assert done.stderr == ""
        results.append(json.loads(done.stdout))
    return results


def test_the_order_of_building_never_matters(built):
    for one, other in itertools.pairwise(built):
        assert one["hashes"] == other["hashes"]
    assert len(set(built[0]["hashes"].values())) == len(MODELS)


def test_nothing_of_the_process_changes(built):
    assert [result["same"] for result in built] == [True] * len(ORDERS)
