"""Labels of the oracle against Psi4 called directly and against finite differences."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.data import chemical_symbols

from golfbench.chemistry import embed
from golfbench.errors import ConfigurationError
from golfbench.molecules import Molecule
from golfbench.oracles.opening import CheckedOracle
from golfbench.registry import registry
from golfbench.rigid import without_net_force
from golfbench.specs import ComponentRef, OracleSpec
from golfbench.units import BOHR_TO_ANGSTROM
from golfbench_psi4.engine import Psi4Oracle, parse_memory
from golfbench_psi4.location import Installation

Open = Callable[..., CheckedOracle]

#: Psi4 with nothing around it and all its defaults, from the text of an input file, which is in Å.
DIRECT = """
import json, sys
jobs, folders = json.loads(sys.argv[1]), sys.argv[2:]
sys.path += folders
import psi4
psi4.core.be_quiet()
answers = []
for job in jobs:
    psi4.core.clean()
    psi4.core.clean_options()
    psi4.set_options({"reference": job["reference"]})
    molecule = psi4.geometry(job["text"])
    gradient, wfn = psi4.gradient(job["level"], molecule=molecule, return_wfn=True)
    answers.append([wfn.energy(), gradient.np.tolist()])
open("answers.json", "w").write(json.dumps(answers))
"""

O2 = Molecule("O2", np.array([8, 8]), np.array([[0, 0, 0], [0.1, 0, 1.25]]), multiplicity=3)
METHYL = Molecule(
    "CH3",
    np.array([6, 1, 1, 1]),
    np.array([[0, 0, 0], [0, 1.08, 0], [0.935, -0.54, 0], [-0.935, -0.54, 0.1]]),
    multiplicity=2,
)
HYDROXIDE = Molecule("OH-", np.array([8, 1]), np.array([[0, 0, 0.1], [0, 0, 1.1]]), charge=-1)


def directly(jobs: list[tuple[str, Molecule]], psi4: Installation, folder: Path) -> list[tuple[float, Any]]:
    """Return energy (Hartree) and gradient (Hartree/Bohr) of each (method/basis, molecule)."""
    described = []
    for level, m in jobs:
        atoms = [
            f"{chemical_symbols[z]} {x:.16f} {y:.16f} {w:.16f}"
            for z, (x, y, w) in zip(m.numbers, m.positions, strict=True)
        ]
        text = "\n".join([f"{m.charge} {m.multiplicity}", *atoms, "units ang", "nocom", "noreorient", "symmetry c1"])
        described.append({"level": level, "text": text, "reference": "rhf" if m.multiplicity == 1 else "uhf"})
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PSI_SCRATCH": str(folder)}
    command = [*psi4.command, "-c", DIRECT, json.dumps(described), *psi4.folders]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return [(energy, np.array(g)) for energy, g in json.loads((folder / "answers.json").read_text())]


def test_labels_are_those_of_psi4(open_psi4: Open, psi4: Installation, water: Molecule, tmp_path: Path) -> None:
    ammonium = embed("C[NH3+]", "cation", 1, seed=1)[0]
    methanol = embed("CO", "methanol", 1, seed=1)[0]
    jobs = [
        ("hf/sto-3g", water),
        ("hf/sto-3g", ammonium),
        ("hf/sto-3g", HYDROXIDE),
        ("hf/sto-3g", O2),  # unrestricted Hartree-Fock
        ("b3lyp/sto-3g", O2),  # unrestricted Kohn-Sham
        ("mp2/sto-3g", water),
        ("wB97X-D/sto-3g", methanol),
        ("wB97X-D/def2-SVP", water),
    ]
    for (level, molecule), (energy, gradient) in zip(jobs, directly(jobs, psi4, tmp_path), strict=True):
        method, basis = level.split("/")
        oracle = open_psi4(f"psi4:method={method},basis={basis}")
        got_energy, got_forces = oracle.label(molecule)
        assert got_energy == pytest.approx(energy, abs=1e-8), level
        forces = without_net_force(molecule.positions, gradient / -BOHR_TO_ANGSTROM)  # what the grid leaves
        assert got_forces == pytest.approx(forces, abs=1e-6), level
        assert 0.01 < (oracle.last_cpu_s or 0) < 60  # of Psi4's process, not of the one that waits for it
        oracle.close()


@pytest.mark.parametrize(
    ("level", "molecule"), [("hf/sto-3g", "water"), ("hf/sto-3g", "methyl"), ("wB97X-D/def2-SVP", "water")]
)
def test_every_way_to_the_scf_gives_the_same_label(level: str, molecule: str, open_psi4: Open, water: Molecule) -> None:
    method, basis = level.split("/")
    asked = METHYL if molecule == "methyl" else water
    fallbacks = registry().find(OracleSpec, "psi4").fallbacks
    assert fallbacks == ({"scf": "guess"}, {"scf": "damping"}, {"scf": "second-order"})
    energies, forces = [], []
    for way in ({}, *fallbacks):
        energy, force = open_psi4(str(ComponentRef("psi4", {"method": method, "basis": basis, **way}))).label(asked)
        energies.append(energy)
        forces.append(force)
    assert np.ptp(energies) < 1e-7  # Hartree
    assert np.ptp(forces, axis=0).max() < 1e-6  # Hartree/Å
    assert len({force.tobytes() for force in forces}) == 4  # each went its own way


def test_what_a_label_depends_on() -> None:
    spec = registry().find(OracleSpec, "psi4")
    technical = {"scf": "damping", "threads": 8, "memory": "9 GB", "max_iterations": 7, "python": "/opt/psi4"}
    assert spec.options(technical) == {"method": "wB97X-D", "basis": "def2-SVP"}
    with pytest.raises(ConfigurationError, match="scf=soscf is not one of plain, guess, damping, second-order"):
        spec.resolve({"scf": "soscf"})


def test_forces_are_the_derivative_of_the_energy(open_psi4: Open, water: Molecule) -> None:
    oracle = open_psi4()
    _, forces = oracle.label(water)
    step = 1e-3
    for atom, axis in ((0, 2), (1, 1), (2, 0)):
        shift = np.zeros_like(forces)
        shift[atom, axis] = step
        up, down = (oracle.label(water.at(water.positions + s))[0] for s in (shift, -shift))
        assert forces[atom, axis] == pytest.approx((down - up) / (2 * step), abs=2e-6)


def test_symmetry_that_rounding_breaks_is_no_obstacle(open_psi4: Open) -> None:
    """Psi4 1.3.2 refuses these positions of allene: "Unrecognized point group bits"."""
    half, height, away = 1.2700407255263853, 1.8387746044117852, 0.9216397784769579
    ends = [(away, -height, 0), (-away, -height, 0), (0, height, away), (0, height, -away)]
    exact = np.array([(0, 0, 0), (0, half, 0), (0, -half, 0), *ends])
    noise = np.zeros((7, 3))
    noise[4, 2] = 3e-9
    numbers = np.array([6, 6, 6, 1, 1, 1, 1])
    oracle = open_psi4()
    (energy, forces), (broken_energy, broken_forces) = (
        oracle.label(Molecule(id="allene", numbers=numbers, positions=x)) for x in (exact, exact + noise)
    )
    assert broken_energy == pytest.approx(energy, abs=1e-8)
    assert broken_forces == pytest.approx(forces, abs=1e-6)


def test_a_label_does_not_depend_on_earlier_calls(open_psi4: Open, water: Molecule) -> None:
    oracle = open_psi4()
    first = oracle.label(water)
    oracle.label(O2)
    oracle.label(HYDROXIDE)
    again = oracle.label(water)
    assert again[0] == pytest.approx(first[0], abs=1e-12)
    assert again[1] == pytest.approx(first[1], abs=1e-10)


def test_charge_and_multiplicity_reach_psi4(open_psi4: Open, water: Molecule) -> None:
    oracle = open_psi4()
    cation = Molecule("cation", water.numbers, water.positions, charge=1, multiplicity=2)
    triplet = Molecule("triplet", water.numbers, water.positions, multiplicity=3)
    neutral, ionised, excited = (oracle.label(m)[0] for m in (water, cation, triplet))
    assert 0.2 < ionised - neutral < 0.5  # Hartree; 12.6 eV in experiment
    assert excited - neutral > 0.1


def test_two_threads_give_the_same_label(open_psi4: Open, water: Molecule) -> None:
    one, two = (open_psi4(f"psi4:method=hf,basis=sto-3g,threads={n}").label(water) for n in (1, 2))
    assert two[0] == pytest.approx(one[0], abs=1e-10)
    assert two[1] == pytest.approx(one[1], abs=1e-8)


def test_level_of_theory_and_version(open_psi4: Open) -> None:
    spec = registry().find(OracleSpec, "psi4")
    assert spec.level_of_theory({}) == "wB97X-D/def2-SVP"
    assert spec.level_of_theory(ComponentRef.parse("psi4:method=hf,basis=sto-3g").parameters) == "hf/sto-3g"
    assert spec.isolated
    assert open_psi4().version.startswith("psi4 1.")


@pytest.mark.parametrize(
    ("text", "size"),
    [("2", 2e9), ("2 GB", 2e9), ("500 MB", 5e8), ("1.5GiB", 1.5 * 2**30), (" 300 mib ", 300 * 2**20)],
)
def test_memory_is_read(text: str, size: float) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "much", "2 XB", "-1 GB", "100 MB", "0"])
def test_memory_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="psi4: memory must be"):
        parse_memory(text)


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"method": "hf/6-31g"}, "method 'hf/6-31g' must be one name"),
        ({"basis": ""}, "basis '' must be one name"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"max_iterations": 0}, "max_iterations must be at least 1"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(changed: dict[str, Any], complaint: str) -> None:
    usual = registry().find(OracleSpec, "psi4").resolve({})
    with pytest.raises(ConfigurationError, match=complaint):
        Psi4Oracle(**{**usual, **changed})


@pytest.mark.parametrize(
    "code",
    [
        "import sys, golfbench_psi4 as p; p.golfbench_oracles(); print({'psi4', 'torch', 'ase'} & set(sys.modules))",
        "import sys, golfbench_psi4.engine; print({'psi4', 'torch'} & set(sys.modules))",
    ],
    ids=["listing", "worker"],
)
def test_what_is_not_needed_is_not_imported(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.skipif(os.environ.get("GOLFBENCH_SLOW") != "1", reason="takes minutes: set GOLFBENCH_SLOW=1")
def test_paracetamol_has_its_reference_energy(open_psi4: Open) -> None:
    folder = os.environ.get("GOLFBENCH_REFERENCE_DATA")
    if folder is None:
        pytest.skip("GOLFBENCH_REFERENCE_DATA is not set")
    reference = json.loads((Path(folder) / "paracetamol-endpoints.json").read_text())
    geometry = reference["geometries"]["init"]
    molecule = Molecule("paracetamol", np.array(reference["numbers"]), np.array(geometry["positions_angstrom"]))
    energy, forces = open_psi4("psi4", time_limit_s=3600).label(molecule)
    print(f"difference to the reference: {energy - geometry['energy_hartree']:.3e} Hartree")
    assert energy == pytest.approx(geometry["energy_hartree"], abs=1e-6)
    assert np.linalg.norm(forces.sum(axis=0)) < 1e-8  # the grid leaves 1e-3
