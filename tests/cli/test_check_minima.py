"""Symmetric starts: what is told of them, and the minima that ``--check-minima`` finds beyond their saddles."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from golfbench.cli.main import build_app
from golfbench.molecule_files.minima import symmetric

THREE = [(np.cos(t), np.sin(t), 0.0) for t in np.deg2rad([0, 120, 240])]
AMMONIA = ("NHHH", [(0, 0, 0), *THREE])
ETHANE = (
    "CCHHHHHH",
    [(0, 0, 0), (0, 0, 1.53), *[(x, y, -0.4) for x, y, _ in THREE], *[(x, y, 1.93) for x, y, _ in THREE]],
)
PEROXIDE = ("OOHH", [(0, 0, 0), (1.45, 0, 0), (-0.2, 0.95, 0), (1.65, 0.95, 0)])
WATER = ("OHH", [(0, 0, 0), (0.96, 0, 0), (-0.96, 0, 0)])
BENT = ("OHH", [(0, 0, 0), (0.96, 0, 0), (-0.24, 0.93, 0)])
RING = [(np.cos(t), np.sin(t), 0.0) for t in np.deg2rad(range(0, 360, 60))]
BENZENE = (
    "C" * 6 + "H" * 6,
    [(1.39 * x, 1.39 * y, 0) for x, y, _ in RING] + [(2.48 * x, 2.48 * y, 0) for x, y, _ in RING],
)
#: Energies in Hartree by ASE's BFGS to 0.002 eV/Å with the library tblite, best of three noisy starts.
MINIMA = [(AMMONIA, -4.426244), (ETHANE, -7.336371), (PEROXIDE, -9.054670), (WATER, -5.070544), (BENZENE, -15.879641)]


def write(*frames):
    text = ""
    for symbols, positions in frames:
        atoms = zip(symbols, positions, strict=True)
        text += f"{len(symbols)}\ncharge=0 multiplicity=1\n" + "".join(f"{s} {x} {y} {z}\n" for s, (x, y, z) in atoms)
    Path("in.xyz").write_text(text)


def minimize(*options: object):
    """Minimize ``in.xyz``; return the exit code, the rows and stderr."""
    arguments = ["minimize", "in.xyz", "--model", "gfn2-xtb", *map(str, options), "--json"]
    done = CliRunner().invoke(build_app(), arguments)
    return done.exit_code, json.loads(done.stdout)["rows"], done.stderr


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_walks_go_on_from_saddles_to_the_minima_beyond():
    write(*[frame for frame, _ in MINIMA])
    code, rows, errors = minimize("--check-minima")
    assert code == 0
    assert "5 of 5 tested end points are minima" in errors
    for row, (_, energy) in zip(rows, MINIMA, strict=True):
        assert row["is_minimum"] is True
        assert row["curvature_min_ev_per_angstrom2"] > 0
        assert row["energy_final_hartree"] == pytest.approx(energy, abs=5e-6)
        assert row["model_calls"] >= row["n_steps"] + 1 + 6 * row["n_atoms"]
    assert rows[4]["model_calls"] == rows[4]["n_steps"] + 1 + 72  # benzene is planar: one test, no push


def test_without_the_option_symmetric_ends_are_told_and_not_tested():
    write(AMMONIA, BENT)
    code, rows, errors = minimize()
    assert code == 0
    assert "in.xyz:1: symmetric at the start and at the end, which may be a saddle (--check-minima tells)" in errors
    assert "in.xyz:2" not in errors
    assert [row["is_minimum"] for row in rows] == [None, None]
    assert rows[0]["energy_final_hartree"] == pytest.approx(-4.426244 + 6.11 / 627.5095, abs=5e-5)


def test_the_steps_of_all_walks_together_are_limited():
    write(AMMONIA)
    code, (row,), errors = minimize("--check-minima", "--max-steps", 2)
    assert code == 1
    assert (row["status"], row["n_steps"], row["is_minimum"]) == ("converged", 2, False)
    assert "in.xyz:1: it is at a saddle: the smallest curvature is -11." in errors
    code, (row,), _ = minimize("--check-minima", "--max-steps", 4)
    assert (code, row["status"], row["n_steps"], row["is_minimum"]) == (1, "step_limit", 4, None)


def test_an_atom_is_a_minimum_and_needs_no_test():
    Path("in.xyz").write_text("1\ncharge=0 multiplicity=1\nHe 0 0 0\n")
    _, (row,), _ = minimize("--check-minima")
    assert (row["is_minimum"], row["curvature_min_ev_per_angstrom2"], row["model_calls"]) == (True, None, 1)


def test_the_table_has_a_column_for_it_only_where_it_was_asked_for():
    write(BENT)
    for options, last in (([], "model calls"), (["--check-minima"], "minimum")):
        done = CliRunner().invoke(build_app(), ["minimize", "in.xyz", "--model", "gfn2-xtb", *options])
        head, row = done.stdout.splitlines()
        assert head.split("\t")[-1] == last
    assert row.split("\t")[-1] == "yes"


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (AMMONIA, True),
        (ETHANE, True),
        (WATER, True),
        (BENT, False),
        (BENZENE, True),
        (("OH", [(0, 0, 0), (1, 0, 0)]), False),
    ],
)
def test_symmetry_is_seen_in_any_orientation_and_lost_with_noise(frame, expected):
    symbols, positions = frame
    numbers = np.array([{"H": 1, "C": 6, "N": 7, "O": 8}[symbol] for symbol in symbols])
    rng = np.random.default_rng(1)
    turned = np.array(positions, dtype=float) @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    assert symmetric(numbers, turned + rng.normal(size=turned.shape) * 1e-3) == expected
    assert not symmetric(numbers, turned + rng.normal(size=turned.shape) * 0.3)
