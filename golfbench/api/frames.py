"""Results as pandas frames; pandas is imported when the first one is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import Any

from golfbench.errors import ComponentMissingError


def frame_of(rows: Iterable[Mapping[str, Any]]) -> Any:
    """Return a ``pandas.DataFrame``, one row for each mapping.

    Raises:
        ComponentMissingError: If pandas is not installed.
    """
    try:
        pandas = importlib.import_module("pandas")
    except ImportError as error:
        raise ComponentMissingError("a frame needs pandas: pip install pandas") from error
    return pandas.DataFrame(list(rows))
