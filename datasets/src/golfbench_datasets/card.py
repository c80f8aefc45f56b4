"""The card of a dataset: README.md with the counts and the provenance, written by the builders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from textwrap import fill
from typing import Any

from golfbench.benchmark.inspection import largest_force
from golfbench.benchmark.recomputing import MINIMUM_FORCE
from golfbench.contracts import Dataset
from golfbench.durable import write_atomically
from golfbench.units import HARTREE_TO_KCAL_MOL
from golfbench_datasets.druglike import SCREENING_FILE
from golfbench_datasets.files import TEST, Description, PartFacts, molecule_name
from golfbench_datasets.structures import CLUSTER_RMSD, POOL

_CARD = """\
# {name}

Drug-like molecules for training a neural network potential with gradual optimization learning and judging it as a
minimizer. Every energy and force is {method} ({engine}).

| | molecules | conformations | atoms with H (median) |
|---|---|---|---|
| initial training set (`initial.db`) | {train.molecules} | {train.conformations} | {train_atoms} |
| test part with reference minima (`{test_file}`) | {test.molecules} | {test.conformations} | {test_atoms} |

Elements: {elements}. All molecules are neutral, closed-shell and in one piece. Test molecules:
{drugs}.

## What is in it
- **Test part.** Known drugs, each with one ETKDGv3 conformer (not optimized) as start, and the minimum that
{walk}
  The largest force norm at a minimum is {worst_force:.4f} eV/Å (demanded: below {limit} eV/Å), the energy falls from
  start to minimum by {drop_min:.0f} to {drop_max:.0f} kcal/mol (median {drop_median:.0f}), and no bond is formed or
  broken. The minimum is a local one: lower ones may exist. Drugs are listed by name, SMILES and molecular formula in
  `{drugs_of}/drugs.csv`; each formula is checked against the structure.
- **Initial training set.** {train.molecules} compounds, {per_molecule} ETKDGv3 conformers each, labelled {where};
  picked with MaxMin (Morgan fingerprints, radius 2, 2048 bits) from the eligible ones of 10 000 screening
  compounds. No Murcko scaffold is shared with any drug of {drugs_of}; molecules without rings have no scaffold, so
  only identical ones are kept apart there. Stereocentres and double bonds that are drawn without a configuration have
  one here, the same in all conformers.
{subset}
## Format
ASE SQLite databases as in the GOLF paper: positions in Å, `data` with `energy` (Hartree) and `forces` (Hartree/Å), in
the test part also `optimal_energy`, `optimal_positions` and `optimal_forces`; `key_value_pairs` with `molecule_name`,
`conformation_id`, `smiles`, and `known_formula` in the test part. Atoms are in the order of
`Chem.AddHs(Chem.MolFromSmiles(smiles))`. `dataset.yaml` states method, counts, seed, versions and a SHA-256 over the
content.

    from ase.db import connect
    row = connect("test.db").get(1)
    print(row.molecule_name, row.toatoms(), row.data["energy"], row.data["optimal_energy"])

## How it was built
    {command}

with `golfbench-datasets[build]` installed{and_engine}. Seed {seed}, RDKit {rdkit}, {engine};
{duration} on two cores. The same versions on the same machine give the same content, bit by bit. Another version of
RDKit may embed or pick differently; another machine rounds differently, which the last digits of a minimum show.

    golfbench datasets check {name} --recompute 10

derives everything stated here again (hash, formulas, scaffolds, bonds, minima) and asks the oracle for ten of the
labels.

Content SHA-256: `{sha256}`

## Sources and licences
- The drugs are facts of chemistry: names, structures and formulas were written down for this dataset.
- The screening compounds are read from `Data/Pains/test_data/{screening_file}` of the RDKit distribution
  (BSD-3-Clause), SHA-256 `{screening_sha256}`.
  RDKit's notes beside it name as origin Saubern, Guha and Baell, Mol. Inform. 30, 847 (2011), doi
  10.1002/minf.201100076; no licence of its own is stated there. Ids are those of that file. Of its 10 000 structures,
  {train.molecules} are used here.
- Conformers, energies, forces and minima were computed for this dataset and are under the licence of golfbench (MIT).
{sources}
  ETKDGv3: Wang, Witek, Landrum and Riniker, J. Chem. Inf. Model. 60, 2044 (2020), doi 10.1021/acs.jcim.0c00025.

## Limits
{limits}
- The training set is {extent}, being a MaxMin pick, rich in unusual structures; screening compounds include reactive
  and colourful ones that no chemist would take for drugs.
- No ions, no salts, no metals, no phosphorus, iodine or silicon; one stereoisomer and one tautomer of each molecule.
"""

_SUBSET = """\
- **A subset.** Every row is also in druglike-xtb, with the same geometry and label: its {train.molecules} small
  training compounds and the first {test.molecules} drugs of the list with at most 30 atoms.
"""

_WALKS = """\
- **The oracle's walks** to the minima are in `walks.db`, state by state, with energies and forces.
- **Labels that runs paid for** are in `labels.jsonl`, as `golfbench cache export` writes them: a run on this dataset
  puts them into the label cache. They answer the same question only: the same geometry, to the last digit, and the same
  version of the engine.
"""

#: Texts of a card for each level of theory: walks, build, sources and limits.
_XTB = {
    "walk": "  L-BFGS reaches from that start on the {method} surface.",
    "and_engine": " (GFN2-xTB and L-BFGS)",
    "sources": "- GFN2-xTB: Bannwarth, Ehlert and Grimme, J. Chem. Theory Comput. 15, 1652 (2019), doi "
    "10.1021/acs.jctc.8b01176.",
    "limits": "- GFN2-xTB is a semi-empirical method in the gas phase; its minima are not those of density functional "
    "theory.",
}
_DFT = {
    "walk": "  `rfo-internal` reaches on the {method} surface from the end of a walk on AIMNet2. So a minimum lies in "
    "a basin\n  that AIMNet2 finds, which favours AIMNet2 a little where a molecule has several.",
    "and_engine": " (the oracle `psi4`, AIMNet2 and its weights)",
    "sources": "- wB97X-D: Chai and Head-Gordon, Phys. Chem. Chem. Phys. 10, 6615 (2008), doi 10.1039/b810189b. "
    "def2-SVP: Weigend and\n  Ahlrichs, Phys. Chem. Chem. Phys. 7, 3297 (2005), doi 10.1039/b508541a. Psi4: J. Chem. "
    "Phys. 152, 184108 (2020), doi\n  10.1063/5.0006002. AIMNet2: Chem. Sci. 16, 10228 (2025), doi "
    "10.1039/d4sc08572h.",
    "limits": "- The level of theory is that of the GOLF paper, in the gas phase, with density fitting and Psi4's "
    "default grid of 75 x 302\n  points. Forces are freed of net force and torque, which are the grid's noise.\n"
    "- Few and small molecules: an hour of density functional theory, not a cluster.",
}

_LARGER = """\
- **Along relaxations.** Of each compound the last conformer was walked to its MMFF94 minimum (`rfo-internal`), and the
  one before it to a state on the way to its own, drawn at random; of those with three the first is as ETKDGv3 made it.
  A network that has only seen embedded conformers has not seen the bond lengths of a minimum: see `baselines/`.
- **More of druglike-xtb.** The test part is that of druglike-xtb and is read from there. The first compounds of the
  training set are those of druglike-xtb; the pick goes on from them. Three conformations of one molecule, two of the
  next: as many conformations, of as many molecules, as the initial set of the GOLF paper.
"""


_OWN = """\
# {name}

A dataset of golfbench, for training a neural network potential with gradual optimization learning and judging it as a
minimizer. Every energy and force is {method} (`{oracle}`, {engine}).

| | molecules | conformations | atoms with H (median) |
|---|---|---|---|
| initial training set (`initial.db`) | {train.molecules} | {train.conformations} | {train_atoms} |
| test part with reference minima (`test.db`) | {test.molecules} | {test.conformations} | {test_atoms} |

Elements: {elements}. Test molecules:
{names}.

## How it was built
    {command}

- **Conformers.** ETKDGv3, not optimized; of {pool} or more for each molecule, clustered by the RMSD of heavy atoms
  (Butina, threshold {rmsd} Å), the centroids of the largest clusters: up to {conformers} of a training molecule, one
  of a test molecule. Centres and double bonds that the input leaves open are one stereoisomer in all conformers.
- **Split.** No Murcko scaffold is in both parts; of molecules without rings, no molecule is.
- **Test part.** {first}`{optimizer}` walks on the {method} surface until no force is above the threshold; the largest
  force norm at a minimum is {worst_force:.4f} eV/Å (demanded: below {limit} eV/Å). The energy falls from start to
  minimum by {drop_min:.1f} to {drop_max:.1f} kcal/mol (median {drop_median:.1f}), and no bond is formed or broken. A
  minimum is a local one: lower ones may exist. The oracle's walks are in `walks.db`, state by state, with energies and
  forces.
- Seed {seed}, RDKit {rdkit}.
{left_out}
## Format
ASE SQLite databases as in the GOLF paper: positions in Å, `data` with `energy` (Hartree) and `forces` (Hartree/Å), in
the test part also `optimal_energy`, `optimal_positions` and `optimal_forces`. Atoms are in the order of
`Chem.AddHs(Chem.MolFromSmiles(smiles))`.

    golfbench datasets check folder:path={name}
    golfbench run --dataset folder:path={name} --oracle {oracle}

Content SHA-256: `{sha256}`
"""


def write_own_card(folder: Path, description: Description, dataset: Dataset, left_out: Sequence[str]) -> None:
    """Write README.md of a dataset of the user's own molecules.

    Args:
        folder: The dataset.
        description: With what it was built with.
        dataset: Its content.
        left_out: What was given and is not in it, with the reason.
    """
    first = description.built_with["first_walk"]
    lines = "".join(f"- {line}\n" for line in left_out)
    text = _OWN.format(
        **_numbers(description, dataset),
        **{
            key: description.built_with[key]
            for key in ("command", "seed", "rdkit", "engine", "conformers", "optimizer")
        },
        oracle=description.oracle,
        names=fill(", ".join(molecule_name(item.molecule) for item in dataset.test), 116, break_on_hyphens=False),
        pool=POOL,
        rmsd=CLUSTER_RMSD,
        first="" if first == "none" else f"First a walk on `{first}`; from its end ",
        left_out=f"\n## Left out\n{lines}" if lines else "",
    )
    write_atomically(folder / "README.md", text)


def _numbers(description: Description, dataset: Dataset) -> dict[str, Any]:
    """Return the facts on the content that every card has."""
    drops = sorted(
        (item.start.energy - item.minimum.energy) * HARTREE_TO_KCAL_MOL
        for item in dataset.test
        if item.start and item.minimum
    )
    return {
        "name": description.name,
        "method": description.method,
        "train": description.initial,
        "test": description.test,
        "train_atoms": _sizes([len(row.molecule) for row in dataset.initial]),
        "test_atoms": _sizes([len(item.molecule) for item in dataset.test]),
        "elements": " ".join(description.elements),
        "worst_force": max(largest_force(item.minimum.forces) for item in dataset.test if item.minimum),
        "limit": MINIMUM_FORCE,
        "drop_median": median(drops),
        "drop_min": drops[0],
        "drop_max": drops[-1],
        "sha256": description.content_sha256,
    }


def write_card(folder: Path, description: Description, dataset: Dataset) -> None:
    """Write README.md of a dataset folder."""
    assert description.initial is not None
    assert description.test is not None
    is_dft = description.name == "druglike-dft"
    text = _CARD.format(
        **description.built_with,
        **_numbers(description, dataset),
        drugs=fill(", ".join(molecule_name(item.molecule) for item in dataset.test), 116, break_on_hyphens=False),
        per_molecule=_per_molecule(description.initial),
        where="where MMFF94 takes them (below)" if description.test_of else "where they stand",
        subset=_subset(description, description.initial, description.test),
        drugs_of="druglike-dft" if is_dft else "druglike-xtb",
        **{key: text.format(method=description.method) for key, text in (_DFT if is_dft else _XTB).items()},
        test_file=TEST if not description.test_of else f"../{description.test_of}/{TEST}",
        duration="two hours" if is_dft else "half an hour" if description.test_of else "a few minutes",
        extent="large and" if description.test_of else "small and",
        screening_file=SCREENING_FILE.name,
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def _sizes(sizes: list[int]) -> str:
    return f"{min(sizes)} to {max(sizes)} ({median(sizes):.0f})"


def _per_molecule(part: PartFacts) -> str:
    each, rest = divmod(part.conformations, part.molecules)
    return f"up to {each + 1}" if rest else str(each)


def _subset(description: Description, train: PartFacts, test: PartFacts) -> str:
    if description.test_of:
        return _LARGER
    if description.name == "druglike-dft":
        return _WALKS
    return _SUBSET.format(train=train, test=test) if description.name == "druglike-mini" else ""
