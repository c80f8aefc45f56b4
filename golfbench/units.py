"""Units: Hartree and Å inside, kcal/mol in all output for readers. The only place with constants.

Values are CODATA as shipped by ``ase.units``.
"""

from ase import units as _ase

HARTREE_TO_KCAL_MOL: float = _ase.Hartree / (_ase.kcal / _ase.mol)
HARTREE_TO_EV: float = float(_ase.Hartree)
BOHR_TO_ANGSTROM: float = float(_ase.Bohr)
KCAL_MOL_TO_HARTREE: float = 1.0 / HARTREE_TO_KCAL_MOL
