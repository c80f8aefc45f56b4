"""Valence electrons of the GFN methods: a check for impossible molecules that their engines accept in silence."""

from __future__ import annotations

from golfbench.errors import OracleError
from golfbench.molecules import Molecule

_NOBLE_GASES = (2, 10, 18, 36, 54)
#: Full d shells are core of what follows them; the 4f electrons of La to Lu are core even where the shell is not full.
_D_SHELL, _F_SHELL = 10, 14


def valence_electrons(number: int) -> int:
    """Return the valence electrons that GFN1-xTB and GFN2-xTB give a neutral atom.

    Source: Grimme, Bannwarth and Shushkov 2017, doi 10.1021/acs.jctc.7b00118, section 2.1 (minimal valence basis).

    Args:
        number: Atomic number, 1 to 86.
    """
    core = max((z for z in _NOBLE_GASES if z < number), default=0)
    electrons = number - core
    if core == 54 and number > 56:
        if electrons <= 3 + _F_SHELL:
            return 3
        electrons -= _F_SHELL
    return electrons - _D_SHELL if electrons > 11 else electrons


def check_valence(molecule: Molecule) -> int:
    """Return the number of valence electrons of a molecule.

    Raises:
        OracleError: If there is none, or fewer than unpaired ones: engines return a number, or corrupt their memory.
    """
    electrons = sum(map(valence_electrons, molecule.numbers.tolist())) - molecule.charge
    if electrons < max(1, molecule.multiplicity - 1):
        raise OracleError(
            f"{molecule.id}: {electrons} valence electrons (charge {molecule.charge:+d}) cannot have multiplicity "
            f"{molecule.multiplicity}",
            "input",
        )
    return electrons
