import pytest

from golfbench.cli.options import with_arguments
from golfbench.errors import ConfigurationError


def test_arguments_join_the_parameters_of_the_one_component():
    given = ["calculator=tblite.ase:TBLite", "arguments=(method=GFN1-xTB,verbosity=0)"]
    (joined,) = with_arguments("oracle", ["ase:reuse=true"], given) or []
    assert joined == "ase:reuse=true,calculator=tblite.ase:TBLite,arguments=(method=GFN1-xTB,verbosity=0)"
    assert with_arguments("oracle", ["xtb", "psi4"], None) == ["xtb", "psi4"]
    assert with_arguments("model", None, []) is None


@pytest.mark.parametrize(
    ("names", "arguments", "message"),
    [
        (["xtb", "psi4"], ["a=1"], "--oracle-arg needs exactly one --oracle"),
        (None, ["a=1"], "--oracle-arg needs exactly one --oracle"),
        (["xtb"], ["accuracy"], "--oracle-arg is written KEY=VALUE, 'accuracy' is not"),
    ],
)
def test_arguments_that_belong_to_nobody(names, arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        with_arguments("oracle", names, arguments)
