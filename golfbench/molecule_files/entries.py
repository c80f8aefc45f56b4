"""Former names of ``input_molecules``, which ``golfbench.api`` and ``golfbench.cli.minimize`` still use."""

from golfbench.molecule_files.input_molecules import EndPoint, Notes, Reading, Unusable, attempt
from golfbench.molecule_files.input_molecules import InputMolecule as Entry

__all__ = ["EndPoint", "Entry", "Notes", "Reading", "Unusable", "attempt"]
