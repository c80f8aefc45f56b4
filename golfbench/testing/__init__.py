"""The contract kit: what every plugin must do, as checks that give one line and one number each.

In a plugin's own tests, one test for each check::

    from golfbench.testing import contract_tests

    test_contract = contract_tests("oracle", "my-dft")

On the command line: ``golfbench plugins check my-dft``.
"""

from __future__ import annotations

from collections.abc import Callable

from golfbench.registry import Registry
from golfbench.testing.examination import Examination
from golfbench.testing.results import CheckResult

__all__ = ["CheckResult", "Examination", "contract_tests"]


def contract_tests(kind: str, reference: str, found: Registry | None = None) -> Callable[[str], None]:
    """Return a test function for pytest, parametrised with the checks of a component.

    Args:
        kind: ``model``, ``optimizer``, ``selection``, ``oracle``, ``dataset``, ``executor`` or ``logger``.
        reference: Name, with parameters if wanted: ``my-dft:basis=sto-3g``.
        found: Where to look; the installed plugins if not given.

    Raises:
        ConfigurationError: If there is no such component or parameter.
    """
    import pytest

    examination = Examination(kind, reference, found)

    @pytest.mark.parametrize("check", list(examination.checks))
    def test_contract(check: str) -> None:
        result = examination.result(check)
        if result.status == "skipped":
            pytest.skip(result.explanation)
        assert result.passed, str(result)

    return test_contract
