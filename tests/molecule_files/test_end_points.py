"""Foreign end points: whose each geometry is, its atoms in order, and what is refused."""

import random

import numpy as np
import pytest
from ase.io import write as write_atoms
from rdkit import Chem

from golfbench.chemistry import best_rmsd, bond_graph_changed, embed, rdkit_mol, stereo_changes, to_ase
from golfbench.contracts import TestMolecule
from golfbench.errors import ConfigurationError
from golfbench.molecule_files.end_points import read_end_points
from golfbench.molecule_files.isomorphism import in_order_of, skeleton
from golfbench.runs.config import EndPoints, RunConfig

#: The middle carbons of the second have the same neighbours and opposite stereochemistry.
SMILES = {
    "paracetamol": "CC(=O)Nc1ccc(O)cc1",
    "meso": "C[C@H](O)CC[C@H](O)C",
    "glycine": "[NH3+]CC(=O)[O-]",
    "choline": "C[N+](C)(C)CCO",
    "nitro": "O=[N+]([O-])c1ccccc1",
}


def starts(**count):
    names = {name: count.get(name, 1) for name in SMILES}
    return [TestMolecule(m) for name, n in names.items() for m in embed(SMILES[name], name, n, seed=4)]


TEST = starts()


def shuffled(molecule, seed=0):
    """The molecule as an RDKit molecule with its atoms in another order."""
    order = list(range(len(molecule)))
    random.Random(seed).shuffle(order)
    return Chem.RenumberAtoms(rdkit_mol(molecule), order)


def write_sdf(path, mols):
    with Chem.SDWriter(str(path)) as writer:
        writer.SetKekulize(False)
        for title, mol in mols:
            mol.SetProp("_Name", title)
            writer.write(mol)
    return path


def read(path, test=TEST, limit=None):
    return read_end_points(EndPoints.model_validate(path), test, limit)


def only(path, test=TEST):
    """The positions, where nothing is to be said."""
    given, lines = read(path, test)
    assert lines == []
    assert not given.unusable
    return given.positions


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("title", ["{id}", "{group}", ""])
def test_an_sdf_has_its_atoms_in_any_order(tmp_path, title, seed):
    moved = [item.molecule.at(item.molecule.positions + 1.0) for item in TEST]
    titles = [title.format(id=m.id, group=m.id.partition("/")[0]) for m in moved]
    path = write_sdf(tmp_path / "ends.sdf", [(t, shuffled(m, seed)) for t, m in zip(titles, moved, strict=True)])
    found = only(path)
    assert list(found) == [m.id for m in moved]
    for molecule in moved:
        placed = found[molecule.id]
        assert not bond_graph_changed(molecule, placed)
        assert not stereo_changes(molecule, placed)
        assert best_rmsd(molecule, placed, molecule.positions) < 1e-3
        # Atoms of one element and one set of neighbours may change places, others not: an SDF has four decimals.
        assert np.allclose(np.sort(placed, axis=0), np.sort(molecule.positions, axis=0), atol=1e-4)


@pytest.mark.parametrize(
    ("drawn", "meant"),
    [
        ("NCC(O)=O", "[NH3+]CC(=O)[O-]"),  # a hydrogen elsewhere: not the same skeleton
        ("C=C(O)C", "CC(C)=O"),  # a tautomer
        ("CCCO", "CC(O)C"),
    ],
)
def test_other_bonds_are_another_molecule(drawn, meant):
    (ours,), (theirs,) = embed(drawn, "a", 1, seed=1), embed(meant, "b", 1, seed=1)
    assert skeleton(drawn) != skeleton(meant)
    with pytest.raises(ConfigurationError, match="are not those of b/0"):
        in_order_of(theirs, drawn, ours.positions)


@pytest.mark.parametrize(
    ("drawn", "meant"),
    [
        ("C[S+]([O-])C", "CS(C)=O"),
        ("O=N(=O)c1ccccc1", "O=[N+]([O-])c1ccccc1"),
        ("NC(N)=[NH2+]", "[NH2+]=C(N)N"),
        ("C1=CC=CC=C1C", "Cc1ccccc1"),
    ],
)
def test_bond_orders_and_charges_may_be_drawn_otherwise(drawn, meant):
    (theirs,) = embed(meant, "b", 1, seed=1)
    ours = embed(drawn, "a", 1, seed=1)[0] if "N(=O)=O" not in drawn else theirs
    placed = in_order_of(theirs, drawn, ours.positions)
    assert not bond_graph_changed(theirs, placed)


def test_equivalent_atoms_may_change_places():
    """The two halves of a meso compound: R stands where S was, and it is the same compound."""
    (molecule,) = embed(SMILES["meso"], "meso", 1, seed=9)
    turned = "C[C@@H](O)CC[C@@H](O)C"
    assert Chem.CanonSmiles(turned) == Chem.CanonSmiles(SMILES["meso"])
    (other,) = embed(turned, "other", 1, seed=3)
    assert not stereo_changes(molecule, in_order_of(molecule, turned, other.positions))
    (enantiomer,) = embed("C[C@H](O)CC[C@@H](O)C", "not meso", 1, seed=3)
    placed = in_order_of(molecule, str(enantiomer.smiles), enantiomer.positions)
    assert not bond_graph_changed(molecule, placed)
    assert stereo_changes(molecule, placed)


def test_frames_that_the_suite_wrote_are_read_back_whatever_became_of_them(tmp_path):
    """A broken bond and a charge, which nothing says in a plain frame, are no reason to refuse a geometry."""
    path = tmp_path / "ends.extxyz"
    for item in TEST:
        atoms = to_ase(item.molecule)
        atoms.positions[-1] += 3.0
        atoms.info |= {"molecule": item.molecule.id, "status": "topology_changed"}
        write_atoms(path, atoms, format="extxyz", append=True)
    given, lines = read(path)
    assert lines == [
        "ends.extxyz: 5 have other bonds than their molecules: paracetamol/0, meso/0, glycine/0, ...; atoms in another "
        "order look like that, too"
    ]
    for item in TEST:
        assert np.allclose(given.positions[item.molecule.id][:-1], item.molecule.positions[:-1], atol=1e-8)
        assert np.allclose(given.positions[item.molecule.id][-1], item.molecule.positions[-1] + 3.0, atol=1e-8)


def plain(molecule, comment=""):
    symbols = to_ase(molecule).get_chemical_symbols()
    rows = [f"{s} {x:.8f} {y:.8f} {z:.8f}" for s, (x, y, z) in zip(symbols, molecule.positions, strict=True)]
    return "\n".join([str(len(rows)), comment, *rows, ""])


@pytest.mark.parametrize("comment", ["", "{id}", "id={id}", 'molecule="{id}" energy=-1.0', "title={group}"])
def test_a_frame_has_its_atoms_in_the_order_of_the_dataset(tmp_path, comment):
    path = tmp_path / "ends.xyz"
    frames = [(i.molecule, comment.format(id=i.molecule.id, group=i.molecule.id[:-2])) for i in reversed(TEST)]
    path.write_text("".join(plain(molecule, text) for molecule, text in frames))
    found = only(path)
    assert list(found) == [item.molecule.id for item in TEST]
    for item in TEST:
        assert np.allclose(found[item.molecule.id], item.molecule.positions, atol=1e-8)


def test_what_is_missing_or_unusable_has_its_reason(tmp_path):
    first, second, third = (item.molecule for item in TEST[:3])
    backwards = embed("OCCC[N+](C)(C)C", "x", 1, seed=1)[0]
    path = tmp_path / "ends.xyz"
    path.write_text(plain(first, first.id) + plain(backwards, third.id) + plain(second, "nobody"))
    given, lines = read(path, TEST[:1] + TEST[2:])
    assert list(given.positions) == ["paracetamol/0"]
    assert str(given.reason("glycine/0")) == (
        "ends.xyz: number 2 (glycine/0): its atoms are C6H16NO, those of glycine/0 are C2H5NO2"
    )
    assert type(given.reason("choline/0")).__name__ == "NothingToDoError"
    assert str(given.reason("choline/0")) == "ends.xyz has no geometry of it"
    assert lines == [
        "ends.xyz: 1 left out, of no test molecule: number 3 (nobody)",
        "ends.xyz: no geometry for 2 of 4 test molecules: choline/0, nitro/0",
        "ends.xyz: 1 cannot be used: number 2 (glycine/0): its atoms are C6H16NO, those of glycine/0 are C2H5NO2",
    ]


def heavy(molecule):
    return Chem.RemoveHs(rdkit_mol(molecule))


def heavy_frame(molecule):
    kept = molecule.numbers != 1
    return plain(type(molecule)(molecule.id, molecule.numbers[kept], molecule.positions[kept]), molecule.id)


@pytest.mark.parametrize(
    ("name", "write", "line"),
    [
        (
            "two.sdf",
            lambda p, t: write_sdf(p, [(m.id, rdkit_mol(m)) for m in (t[0], t[1], t[0])]),
            "two.sdf: two geometries for paracetamol/0: number 1 (paracetamol/0) and number 3 (paracetamol/0)",
        ),
        (
            "twice.sdf",  # once by its id, once by its bonds
            lambda p, t: write_sdf(p, [(t[0].id, rdkit_mol(t[0])), ("mine", shuffled(t[0]))]),
            "twice.sdf: two geometries for paracetamol/0: number 1 (paracetamol/0) and number 2 (mine)",
        ),
        (
            "heavy.sdf",
            lambda p, t: write_sdf(p, [(m.id, heavy(m)) for m in t]),
            "heavy.sdf: no geometry can be used: paracetamol/0: 9 hydrogens are missing",
        ),
        (
            "heavy.xyz",
            lambda p, t: p.write_text("".join(map(heavy_frame, t))),
            "heavy.xyz: no geometry can be used: number 1 (paracetamol/0): 9 hydrogens are missing: end points",
        ),
        (
            "order.xyz",
            lambda p, t: p.write_text(plain(t[0].__class__("x", t[0].numbers[::-1], t[0].positions[::-1]), t[0].id)),
            "order.xyz: no geometry can be used: number 1 (paracetamol/0): its atoms are not in the order of",
        ),
        (
            "strange.xyz",
            lambda p, t: p.write_text("3\nwater\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n"),
            "strange.xyz: none of its geometries is of a test molecule",
        ),
        (
            "text.xyz",
            lambda p, t: p.write_text("nothing\n"),
            "text.xyz: no geometry can be used: text.xyz:1: 'nothing'",
        ),
        ("ends.smi", lambda p, t: p.write_text("CCO\n"), "end points are geometries, read from .sdf, .sd, .mol, .xyz"),
        ("ends.pdb", lambda p, t: p.write_text("ATOM\n"), "end points are geometries, read from .sdf, .sd, .mol, .xyz"),
    ],
)
def test_what_gives_nothing_to_judge_is_refused_in_one_line(tmp_path, name, write, line):
    write(tmp_path / name, [item.molecule for item in TEST])
    with pytest.raises(ConfigurationError) as refused:
        read(tmp_path / name)
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_molecule_with_several_starts_needs_ids(tmp_path):
    test = starts(paracetamol=3)
    last = test[2].molecule
    assert list(only_one(write_sdf(tmp_path / "a.sdf", [(last.id, shuffled(last))]), test)) == ["paracetamol/2"]
    for title in ("paracetamol", "mine", ""):
        path = write_sdf(tmp_path / "b.sdf", [(title, shuffled(last))])
        with pytest.raises(
            ConfigurationError, match=r"could be the end of paracetamol/0, paracetamol/1, paracetamol/2"
        ):
            read(path, test)


def only_one(path, test):
    given, lines = read(path, test)
    assert len(lines) == 1
    assert "no geometry for" in lines[0]
    return given.positions


def test_a_geometry_of_a_start_that_is_left_out_stands_for_no_other(tmp_path):
    """With a limit of one, the second start's geometry is that of the second start still."""
    test = starts(paracetamol=2)
    path = write_sdf(tmp_path / "a.sdf", [(item.molecule.id, shuffled(item.molecule)) for item in test])
    given, lines = read(path, test, limit=1)
    assert (list(given.positions), lines) == (["paracetamol/0"], [])
    other = write_sdf(
        tmp_path / "b.sdf", [("paracetamol/7", shuffled(test[0].molecule)), ("nitro", heavy(TEST[4].molecule))]
    )
    with pytest.raises(ConfigurationError, match="no geometry can be used"):
        read(other, test)


def test_isomers_with_the_same_bonds_are_told_apart_by_their_geometry(tmp_path):
    both = [embed(smiles, name, 1, seed=2)[0] for name, smiles in (("r", "C[C@H](O)CN"), ("s", "C[C@@H](O)CN"))]
    path = write_sdf(tmp_path / "a.sdf", [("", shuffled(m)) for m in reversed(both)])
    found = only(path, [TestMolecule(m) for m in both])
    for molecule in both:
        assert not stereo_changes(molecule, found[molecule.id])


def test_another_file_at_the_same_place_is_refused(tmp_path):
    path = tmp_path / "ends.xyz"
    path.write_text(plain(TEST[0].molecule))
    ends = EndPoints.model_validate(str(path))
    path.write_text(plain(TEST[1].molecule))
    with pytest.raises(ConfigurationError, match="is not the file that was read before"):
        read_end_points(ends, TEST)


def test_a_run_is_named_by_what_the_files_hold_and_not_by_where_they_lie(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "my ends.xyz.gz").write_text("1\n\nH 0 0 0\n")
    one, two = (RunConfig(end_points=[str(tmp_path / folder / "my ends.xyz.gz")]) for folder in ("a", "b"))
    assert one.run_id() == two.run_id()
    assert one.end_points[0].name == "my-ends"
    assert (one.models, one.references) == ((), ())
    (tmp_path / "b" / "my ends.xyz.gz").write_text("1\n\nH 0 0 1\n")
    assert RunConfig(end_points=[str(tmp_path / "b" / "my ends.xyz.gz")]).run_id() != one.run_id()
    again = RunConfig.model_validate_json(one.model_dump_json())  # the file may be gone by then
    assert again.run_id() == one.run_id()
    assert str(tmp_path) not in one.model_dump_json()
    assert len({RunConfig().run_id(), RunConfig(end_points=[]).run_id()}) == 1


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ([{"path": "nowhere.sdf"}], "end points: nowhere.sdf is no file"),
        (["{a}", "{a}"], "end points: two files have the name 'a': give each one its own"),
    ],
)
def test_a_wrong_list_of_files_is_refused(tmp_path, given, line):
    (tmp_path / "a.xyz").write_text("1\n\nH 0 0 0\n")
    given = [text.format(a=tmp_path / "a.xyz") if isinstance(text, str) else text for text in given]
    with pytest.raises(ConfigurationError) as refused:
        RunConfig(end_points=given)
    assert str(refused.value) == line
