import errno
import os

import numpy as np
import pytest
from rdkit import Chem

from golfbench.benchmark.records import Status
from golfbench.errors import ConfigurationError, WriteError
from golfbench.minimization import StoppingRule
from golfbench.molecule_files import minimizing, output
from golfbench.molecule_files.driver import open_driver
from golfbench.molecule_files.input_molecules import EndPoint, Reading
from golfbench.molecule_files.minimizing import minimize_own, open_optimizer
from golfbench.molecule_files.output import Kept, open_output
from golfbench.molecule_files.reading import read_molecules
from golfbench.molecule_files.rows import OwnRow
from golfbench.molecule_files.writing import molecule_bytes


@pytest.fixture
def ends():
    inputs = read_molecules(["C", "CO", "CCO"], Reading())
    return [EndPoint(given, given.molecule.positions, {}) for given in inputs]


def keep(kept, place, end):
    """Keep an end point with its row."""
    row = OwnRow(id=end.given.molecule.id, input=end.given.source, status=Status.CONVERGED)
    kept.add(Kept(place, row, molecule_bytes(kept.path.suffix, end)))


def fill(path, ends, places, before_last=lambda: None, error=None):
    """Keep end points in this order; do something before the last one, and raise at the end."""
    with open_output(path, overwrite=False) as kept:
        for place in places:
            if place == places[-1]:
                before_last()
            keep(kept, place, ends[place])
        if error:
            raise error
        kept.finish()


def names(path):
    return [mol.GetProp("_Name") for mol in Chem.SDMolSupplier(str(path), removeHs=False)]


def test_the_output_has_the_order_of_the_input_whatever_was_done_first(tmp_path, ends):
    path = tmp_path / "a.sdf"
    with open_output(path, overwrite=False) as kept:
        for done, place in enumerate([2, 0, 1], start=1):
            keep(kept, place, ends[place])
            assert len(names(kept.partial)) == len(kept) == done
            assert not path.exists()
        assert names(kept.partial) == ["CCO", "C", "CO"]
        kept.finish()
    assert names(path) == ["C", "CO", "CCO"]
    assert os.listdir(tmp_path) == ["a.sdf"]


@pytest.mark.parametrize("suffix", [".extxyz", ".xyz"])
def test_extended_xyz_has_it_too(tmp_path, ends, suffix):
    with open_output(tmp_path / f"a{suffix}", overwrite=False) as kept:
        keep(kept, 1, ends[1])
        keep(kept, 0, ends[0])
        kept.finish()
    back = read_molecules([str(tmp_path / f"a{suffix}")], Reading())
    assert [given.molecule.id for given in back] == ["C", "CO"]
    np.testing.assert_allclose(back[1].molecule.positions, ends[1].positions, atol=1e-8)


def test_nothing_is_left_of_an_output_without_molecules(tmp_path):
    with open_output(tmp_path / "a.sdf", overwrite=False):
        assert os.listdir(tmp_path) == ["a.partial.sdf"]
    assert os.listdir(tmp_path) == []


def test_what_ends_the_work_leaves_what_is_done_and_says_where(tmp_path, ends):
    with pytest.raises(LookupError) as raised:
        fill(tmp_path / "a.sdf", ends, [2, 0], error=LookupError())
    assert names(tmp_path / "a.partial.sdf") == ["CCO", "C"]
    assert raised.value.__notes__ == [
        f"2 molecules are in {tmp_path}/a.partial.sdf, in the order in which they were done"
    ]


def test_an_unfinished_file_is_replaced_only_when_told_to_and_not_before_a_molecule_is_done(tmp_path, ends):
    partial = tmp_path / "a.partial.sdf"
    partial.write_text("precious")
    with (
        pytest.raises(ConfigurationError, match=r"no a\.partial\.sdf\.state that says what it is"),
        open_output(tmp_path / "a.sdf", False),
    ):
        pass
    with open_output(tmp_path / "a.sdf", overwrite=True) as kept:
        assert partial.read_text() == "precious"
        keep(kept, 0, ends[0])
        assert names(partial) == ["C"]
        kept.finish()
    assert os.listdir(tmp_path) == ["a.sdf"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_fails_in_mid_record_costs_that_record_alone(tmp_path, ends, monkeypatch, number):
    def half(file, data):
        file.write(data[: len(data) // 2])
        raise OSError(number, os.strerror(number))

    with pytest.raises(WriteError, match=os.strerror(number)):
        fill(tmp_path / "a.sdf", ends, [1, 0], lambda: monkeypatch.setattr(output, "_write", half))
    assert names(tmp_path / "a.partial.sdf") == ["CO"]


def test_a_disk_without_room_for_the_ordered_copy_keeps_the_other_file(tmp_path, ends, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match="No space left") as raised:
        fill(tmp_path / "a.sdf", ends, [1, 0])
    assert sorted(os.listdir(tmp_path)) == ["a.partial.sdf", "a.partial.sdf.state"]
    assert names(tmp_path / "a.partial.sdf") == ["CO", "C"]
    assert "a.partial.sdf" in raised.value.__notes__[0]


def test_an_output_that_exists_or_cannot_be_is_refused_beforehand(tmp_path):
    (tmp_path / "a.sdf").touch()
    for path, message in (
        ("a.sdf", "exists already"),
        ("none/b.sdf", "there is no folder"),
        ("a.sdf/b.sdf", "there is no folder"),
        ("a.pdb", r"the output is \.sdf"),
        ("a", r"the output is \.sdf"),
    ):
        with pytest.raises(ConfigurationError, match=message), open_output(tmp_path / path, overwrite=False):
            pass
    assert os.listdir(tmp_path) == ["a.sdf"]


def test_small_molecules_do_not_wait_for_the_steps_of_a_large_one(monkeypatch):
    monkeypatch.setattr(minimizing, "SMALL", 10)
    inputs = read_molecules(["CCCCCCC", "C", "CCCC", "not one", "CO"], Reading())
    with open_driver("mmff94", None, "mmff94") as driver:
        found = list(minimize_own(inputs, driver, open_optimizer("lbfgs"), StoppingRule(0.02, 200)))
    order = [finished.place for finished in found if finished.end is not None]
    rows = [finished.row for finished in sorted(found, key=lambda finished: finished.place)]
    assert (sorted(order[:2]), order[2:]) == ([1, 4], [2, 0])
    assert [row.id for row in rows] == ["CCCCCCC", "C", "CCCC", "not one", "CO"]
    assert [row.status for row in rows] == ["converged", "converged", "converged", "skipped", "converged"]
    for row, given in zip(rows, inputs, strict=True):
        if row.status == "converged":
            assert row.n_atoms == len(given.molecule)
            assert row.energy_change_kcal_mol < 0
