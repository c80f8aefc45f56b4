"""Write every odd input into a folder: ``python tests/odd_inputs/make.py FOLDER``.

Each input gets a folder of its own, with the files and the command to run there; ``table.tsv`` says what is expected.
Nothing of it is committed: the inputs are generated from a fixed seed.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import odd_arguments
import odd_sdf
import odd_sdf_chemistry
import odd_smiles
import odd_xyz
import odd_xyz_charges
from odd_table import Answer, OddInput, Record

MODULES = (odd_sdf, odd_sdf_chemistry, odd_xyz, odd_xyz_charges, odd_smiles, odd_arguments)


def odd_inputs() -> list[OddInput]:
    """Return every odd input.

    Raises:
        ValueError: If two have the same name.
    """
    made = [made for module in MODULES for made in module.inputs()]
    names = [odd.name for odd in made]
    doubled = {name for name in names if names.count(name) > 1}
    if doubled:
        raise ValueError(f"names of two inputs: {sorted(doubled)}")
    return made


def describe(answer: Answer) -> str:
    """Return an answer in one line, for a person."""
    if answer.refused:
        return f"refused as a whole ({' or '.join(answer.refused)})"
    told = f", stderr says {' and '.join(answer.told)}" if answer.told else ""
    return "; ".join(map(_record, answer.records)) + told


def _record(record: Record) -> str:
    facts = [record.formula, record.title and f"'{record.title[:40]}'"]
    facts += [None if n is None else f"{k} {n}" for k, n in (("charge", record.charge), ("2S+1", record.multiplicity))]
    read = " ".join(filter(None, facts))
    reason = f"bad ({' or '.join(record.words)})" if record.words else ""
    return " / ".join(filter(None, (read, reason)))


def main(folder: Path) -> None:
    """Write the inputs, and the table."""
    rows = ["name\tcommand\texit code\tright"]
    for odd in odd_inputs():
        (folder / odd.name).mkdir(parents=True)
        odd.write(folder / odd.name)
        codes = sorted({code for answer in odd.answers for code in answer.exit_codes})
        command = shlex.join(["golfbench", *odd.command]).encode(errors="replace").decode()
        right = " OR ".join(map(describe, odd.answers))
        rows.append("\t".join(repr(text)[1:-1] for text in (odd.name, command, " ".join(map(str, codes)), right)))
    (folder / "table.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8", errors="replace")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
