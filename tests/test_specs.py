import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from golfbench.errors import ComponentMissingError, ConfigurationError
from golfbench.specs import ComponentRef, OracleSpec, Parameter, Spec, load_factory

PSI4 = OracleSpec(
    name="psi4",
    factory="builtins:dict",
    summary="Density functional theory.",
    method="{method}/{basis}",
    parameters=(
        Parameter("method", "wB97X-D", "Method."),
        Parameter("basis", "def2-SVP", "Basis set."),
        Parameter("threads", 1, "Threads of a call."),
        Parameter("tolerance", 1e-6, "Convergence of the energy, Hartree."),
        Parameter("symmetry", False, "Use point-group symmetry."),
        Parameter("memory_gb", None, "Memory, GB.", kind=float),
        Parameter("reference", "rks", "Orbitals.", choices=("rks", "uks")),
    ),
)


@pytest.mark.parametrize(
    ("text", "name", "parameters"),
    [
        ("painn", "painn", {}),
        ("painn:", "painn", {}),
        ("psi4:method=hf,basis=sto-3g", "psi4", {"method": "hf", "basis": "sto-3g"}),
        (" psi4 : method = hf , basis=6-31G* ", "psi4", {"method": "hf", "basis": "6-31G*"}),
        ("folder:path=/data/a=b:c", "folder", {"path": "/data/a=b:c"}),
        ("painn:preset=small,", "painn", {"preset": "small"}),
        ("psi4:basis=", "psi4", {"basis": ""}),
        ('folder:path="/data/first, second",reader=x', "folder", {"path": "/data/first, second", "reader": "x"}),
        (r'folder:path="5\" disk, C:\\data"', "folder", {"path": '5" disk, C:\\data'}),
        ('folder:path=" a "', "folder", {"path": " a "}),
        ('ase:arguments=(f(a,b),c="x,y)"),reuse=1', "ase", {"arguments": '(f(a,b),c="x,y)")', "reuse": "1"}),
        ('folder:path=5" disk', "folder", {"path": '5" disk'}),
    ],
)
def test_a_component_is_parsed_as_people_write_it(text, name, parameters):
    wanted = ComponentRef.parse(text)
    assert (wanted.name, wanted.parameters) == (name, parameters)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("psi4:hf", "'psi4:hf': parameters are written key=value, 'hf' is not"),
        ("psi4:method=hf,sto-3g", "'sto-3g' is not"),
        ("", "names no component"),
        (":method=hf", "names no component"),
        ('folder:path="a,b"c', 'the value "a,b"c begins with a quote and is no JSON string: Extra data'),
        ('folder:path="a', 'the value "a begins with a quote and is no JSON string: Unterminated'),
    ],
)
def test_what_cannot_be_parsed_is_refused(text, message):
    with pytest.raises(ConfigurationError, match=message) as raised:
        ComponentRef.parse(text)
    assert raised.value.exit_code == 2


words = st.text(st.characters(whitelist_categories=("Ll", "Nd"), whitelist_characters="-."), min_size=1, max_size=8)


@given(words, st.dictionaries(words, st.text('aÅ,"()\\\\= \n', max_size=12), max_size=4))
@example("folder", {"path": "first,second", "b": "(", "c": '"'})
def test_writing_and_parsing_a_component_are_inverse(name, parameters):
    wanted = ComponentRef(name, parameters)
    assert ComponentRef.parse(str(wanted)) == wanted


@pytest.mark.parametrize("text", ["psi4:basis=6-31g(d,p),method=hf", 'ase:arguments=(a="x,y",b={"c": [1, 2]})'])
def test_what_needs_no_quotes_is_written_without(text):
    """Run ids hash these strings."""
    assert str(ComponentRef.parse(text)) == text


def test_values_take_the_type_of_the_default():
    resolved = PSI4.resolve({"threads": "4", "tolerance": "1e-5", "symmetry": "true", "memory_gb": "2"})
    assert resolved == {
        "method": "wB97X-D",
        "basis": "def2-SVP",
        "threads": 4,
        "tolerance": 1e-5,
        "symmetry": True,
        "memory_gb": 2.0,
        "reference": "rks",
    }
    assert [type(resolved[key]) for key in ("threads", "tolerance", "symmetry", "memory_gb")] == [
        int,
        float,
        bool,
        float,
    ]


@pytest.mark.parametrize("value", ["true", "Yes", "1", True, 1])
def test_words_for_true(value):
    assert PSI4.resolve({"symmetry": value})["symmetry"] is True


@pytest.mark.parametrize("value", ["false", "NO", "0", False, 0])
def test_words_for_false(value):
    assert PSI4.resolve({"symmetry": value})["symmetry"] is False


def test_an_absent_value_stays_the_default():
    assert PSI4.resolve({})["memory_gb"] is None
    assert math.isclose(PSI4.resolve({})["tolerance"], 1e-6)


@pytest.mark.parametrize(
    ("given_value", "message"),
    [
        ({"threads": "four"}, "psi4: parameter 'threads' must be int, not 'four'"),
        ({"threads": "1.5"}, "must be int, not '1.5'"),
        ({"threads": 1.5}, "must be int, not 1.5"),
        ({"tolerance": "tight"}, "psi4: parameter 'tolerance' must be float, not 'tight'"),
        ({"tolerance": None}, "must be float, not None"),
        ({"symmetry": "maybe"}, "psi4: parameter 'symmetry' must be bool, not 'maybe'"),
        ({"memory_gb": "much"}, "must be float"),
        ({"reference": "rohf"}, "psi4: reference=rohf is not one of rks, uks"),
        ({"basys": "sto-3g"}, "psi4: unknown parameter 'basys': did you mean 'basis'"),
        ({"zzz": 1}, "psi4: unknown parameter 'zzz'; known: basis, memory_gb, method, reference"),
    ],
)
def test_a_parameter_that_does_not_fit_is_refused_by_name(given_value, message):
    with pytest.raises(ConfigurationError) as raised:
        PSI4.resolve(given_value)
    assert message in str(raised.value)


def test_the_level_of_theory_carries_its_parameters():
    assert PSI4.level_of_theory({}) == "wB97X-D/def2-SVP"
    assert PSI4.level_of_theory(ComponentRef.parse("psi4:method=hf,basis=sto-3g").parameters) == "hf/sto-3g"


def test_the_factory_is_called_with_every_parameter():
    assert PSI4.create({"threads": "2"}) == PSI4.resolve({"threads": 2})


def test_a_factory_that_is_not_installed_says_how_to_install_it():
    spec = Spec(name="far", factory="not_installed_here:make", summary="", install_hint="pip install far")
    with pytest.raises(ComponentMissingError, match=r"'not_installed_here'.*pip install far$") as raised:
        spec.create({})
    assert raised.value.exit_code == 3


def test_a_factory_that_is_not_in_its_module_is_a_configuration_error():
    with pytest.raises(ConfigurationError, match="'far': module math has no 'square_root'"):
        load_factory("math:square_root", "far")
