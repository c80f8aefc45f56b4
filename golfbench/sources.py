"""Files that components are made of and that do not ship: weights and data, by name, with where they come from.

Plugins import these names from ``golfbench.specs``.
"""

from __future__ import annotations

from dataclasses import dataclass

#: The parameter of a model that says what it starts from; it is the suite's, not the model's.
PARAMETER = "weights"


@dataclass(frozen=True, slots=True)
class CheckpointFormat:
    """A file of weights made elsewhere that a model can start from: ``--checkpoint FILE --checkpoint-format NAME``.

    Attributes:
        name: What the user types.
        reader: ``"module:function"``, called with the path of the file; returns ``contracts.ImportedWeights``.
        summary: One sentence for lists.
        unsafe: Whether reading the file may run code in it: then it is read only with ``--unsafe``, in a process of
            its own, and that process returns only plain tensors and numbers.
    """

    name: str
    reader: str
    summary: str
    unsafe: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSource:
    """Where ``golfbench models fetch`` gets a file of weights: out of a wheel, or from an address.

    Attributes:
        wheel: Requirement of a distribution on the package index, ``Auto3D==2.3.1``; nothing of it is installed or run.
        member: Path of the file in the wheel.
        url: Address of the file, ``http`` or ``https``.
        size_bytes: Of the file; zero where it is not known.
    """

    wheel: str = ""
    member: str = ""
    url: str = ""
    size_bytes: int = 0

    def __post_init__(self) -> None:
        """Refuse a source that is neither a wheel nor an address, or both.

        Raises:
            ValueError: If not exactly one place is named.
        """
        if bool(self.wheel) == bool(self.url) or bool(self.wheel) != bool(self.member):
            raise ValueError("weights come from a wheel and a member of it, or from a url")


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedWeights:
    """Weights that a model's plugin knows by name: ``--model aimnet2:weights=wb97m-d3``.

    Attributes:
        name: What the user types.
        source: Where the file comes from.
        sha256: Of the file: another one is refused. Empty: that of the first readable file is kept.
        format: One of the model's checkpoint formats.
        method: Level of theory that they were trained at.
        license: SPDX identifier.
        license_url: Where its text is; needed where it must be accepted.
        accept_licence: Whether the user must accept the licence before the file is fetched.
        citation: Whom to cite, as a DOI or arXiv number.
        summary: One sentence for lists: what they were trained on.
        elements: Atomic numbers that they know.
        charged: Whether they tell charge states apart.
        overlap: What is known of drug-like molecules, such as those of a test set, in their training data: ``unknown``,
            ``none``, or a sentence.
    """

    name: str
    source: WeightsSource
    sha256: str = ""
    format: str
    method: str
    license: str
    license_url: str = ""
    accept_licence: bool = False
    citation: str = ""
    summary: str = ""
    elements: frozenset[int] = frozenset()
    charged: bool = False
    overlap: str = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """A file of a dataset that does not ship: ``golfbench datasets fetch`` brings it, and readers find it in the store.

    Attributes:
        split: What the user types: ``--split traj-10k``, or the value of a parameter of the dataset.
        name: What the file is called in the store.
        url: Its address, ``http`` or ``https``.
        size_bytes: Zero where it is not known.
        sha256: Another file is refused. Empty: that of the first file that passed ``check`` is remembered.
        check: ``"module:function"``, called with the path; raises ``ConfigurationError`` for what is no such file.
        together_with: Splits that are read whenever this one is.
    """

    split: str
    name: str
    url: str
    size_bytes: int = 0
    sha256: str = ""
    check: str = ""
    together_with: tuple[str, ...] = ()
