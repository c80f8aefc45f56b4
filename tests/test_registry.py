import itertools
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from golfbench import registry as registry_module
from golfbench.errors import ConfigurationError
from golfbench.registry import ALLOW_LIST_VARIABLE, STRICT_VARIABLE, Registry, registry
from golfbench.specs import DRUGLIKE_ELEMENTS, ModelSpec, OptimizerSpec, OracleSpec

HEADER = """
from golfbench import hookimpl
from golfbench.specs import *
"""
MODEL = """
@hookimpl
def golfbench_models():
    return [ModelSpec(name="{name}", factory="math:sqrt", summary="A model.")]
"""
modules = (f"registry_probe_{number}" for number in itertools.count())


class Site:
    """A folder of installed distributions, each with one plugin."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, name: str, body: str, version: str = "1.0") -> None:
        module, distribution = next(modules), f"dist-{name}"
        (self.folder / f"{module}.py").write_text(HEADER + body)
        info = self.folder / f"dist_{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[golfbench]\n{name} = {module}\n")

    def entry_points(self):
        return [e for d in Distribution.discover(path=[str(self.folder)]) for e in d.entry_points]

    def registry(self, strict: bool = False) -> Registry:
        return Registry(self.entry_points(), strict=strict)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(tmp_path)
    registry.cache_clear()
    yield Site(tmp_path)
    registry.cache_clear()


def problem(found: Registry, name: str) -> str:
    return next(p.error for p in found.plugins if p.name == name)


def test_a_component_is_found_by_name_and_by_alias_with_its_distribution(site):
    site.add(
        "tight-binding",
        """
@hookimpl
def golfbench_oracles():
    yield OracleSpec(name="gfn9", aliases=("tb",), factory="math:sqrt", summary="An oracle.", method="GFN9")
""",
        version="2.5",
    )
    found = site.registry()
    assert found.get("oracle", "gfn9") is found.get("oracle", "tb")
    assert found.find(OracleSpec, "tb").distribution == "dist-tight-binding"
    assert [s.name for s in found.specs("oracle")] == ["gfn9"]
    assert (found.plugins[0].version, found.plugins[0].components) == ("2.5", [("oracle", "gfn9")])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("import a_module_that_is_not_there", "ModuleNotFoundError: No module named 'a_module_that_is_not_there'"),
        ("raise RuntimeError('first line\\nsecond line')", "RuntimeError: first line second line"),
        ("raise SystemExit('go away')", "SystemExit: go away"),
        ("@hookimpl\ndef golfbench_models():\n    raise OSError('no weights')", "OSError: no weights"),
        ("@hookimpl\ndef golfbench_models():\n    return ['painn']", "returned 'painn', not a ModelSpec"),
        ("@hookimpl\ndef golfbench_models():\n    return None", "TypeError: 'NoneType' object is not iterable"),
        ("@hookimpl\ndef golfbench_modells():\n    return []", "unknown hook 'golfbench_modells'"),
        ("@hookimpl\ndef golfbench_models(device):\n    return []", "{'device'} are declared in the hookimpl"),
    ],
)
def test_a_broken_plugin_keeps_its_reason_and_stops_no_other(site, body, reason):
    site.add("bad", body)
    site.add("good", MODEL.format(name="fine"))
    found = site.registry()
    assert reason in problem(found, "bad")
    assert "\n" not in problem(found, "bad")
    assert problem(found, "good") == ""
    assert [s.name for s in found.specs("model")] == ["fine"]
    assert [name for name, _ in found.manager.list_name_plugin()] == ["dist-good/good"]


@pytest.mark.parametrize(
    "second_half",
    [
        "@hookimpl\ndef golfbench_oracles():\n    raise ValueError('half way')",
        "@hookimpl\ndef golfbench_optimzers():\n    return []",
        "@hookimpl\ndef golfbench_oracles(no_such_argument):\n    return []",
        "@hookimpl\ndef golfbench_selections():\n    return [SelectionSpec(name='a', factory='m', summary=''), 7]",
    ],
)
def test_half_a_plugin_is_never_registered(site, second_half):
    site.add("half", MODEL.format(name="left-over") + second_half)
    found = site.registry()
    assert problem(found, "half")
    assert found.specs("model") == []
    assert found.specs("selection") == []
    assert found.plugins[0].components == []
    assert found.manager.list_name_plugin() == []


def test_a_name_clash_names_both_distributions_and_hits_only_that_name(site):
    site.add(
        "one", MODEL.format(name="net") + MODEL.replace("models", "oracles").split("    return")[0] + "    return []"
    )
    site.add("two", MODEL.format(name="net"))
    site.add("three", MODEL.format(name="other"))
    found = site.registry()
    (line,) = found.clashes()
    assert line.startswith("model 'net' is offered by dist-one and dist-two")
    with pytest.raises(ConfigurationError, match="dist-one and dist-two"):
        found.get("model", "net")
    assert found.get("model", "other").distribution == "dist-three"


def test_an_alias_clashes_with_another_distributions_name(site):
    site.add("one", MODEL.format(name="net"))
    site.add(
        "two",
        "@hookimpl\ndef golfbench_models():\n"
        "    return [ModelSpec(name='network', aliases=('net',), factory='m:a', summary='')]",
    )
    found = site.registry()
    assert len(list(found.clashes())) == 1
    assert found.get("model", "network").distribution == "dist-two"


def test_the_same_name_in_two_kinds_is_no_clash(site):
    site.add(
        "one",
        MODEL.format(name="mmff94")
        + "@hookimpl\ndef golfbench_oracles():\n"
        + "    return [OracleSpec(name='mmff94', factory='m:a', summary='', method='MMFF94')]",
    )
    found = site.registry()
    assert list(found.clashes()) == []
    assert isinstance(found.get("model", "mmff94"), ModelSpec)
    assert isinstance(found.get("oracle", "mmff94"), OracleSpec)


def test_an_unknown_name_gets_the_nearest_names_and_the_broken_plugins(site):
    site.add("good", MODEL.format(name="painn"))
    site.add("bad", "import a_module_that_is_not_there")
    found = site.registry()
    with pytest.raises(ConfigurationError) as raised:
        found.get("model", "pain")
    assert str(raised.value) == "unknown model 'pain': did you mean 'painn'? (plugins that did not load: bad)"
    assert raised.value.exit_code == 2
    with pytest.raises(ConfigurationError, match="unknown optimizer 'zzz'; known: none installed"):
        found.find(OptimizerSpec, "zzz")


def test_the_result_does_not_depend_on_the_order_of_entry_points(site):
    for name in ("c", "a", "b"):
        site.add(name, MODEL.format(name=f"model-{name}"))
    site.add("d", MODEL.format(name="model-a"))
    sources = site.entry_points()
    results = []
    for order in itertools.permutations(sources):
        found = Registry(list(order))
        specs = [(s.name, s.distribution) for s in found.specs("model")]
        results.append(([p.name for p in found.plugins], specs, list(found.clashes())))
    assert len(results) == 24
    assert all(result == results[0] for result in results)
    assert results[0][0] == ["a", "b", "c", "d"]


def test_the_allow_list_loads_only_what_it_names(site, monkeypatch):
    site.add("wanted", MODEL.format(name="wanted-model"))
    site.add("unwanted", "raise RuntimeError('was loaded')")
    monkeypatch.setenv(ALLOW_LIST_VARIABLE, " wanted , not-installed")
    assert [p.name for p in registry().plugins] == ["wanted"]
    assert [s.name for s in registry().specs("model")] == ["wanted-model"]


def test_an_empty_allow_list_loads_nothing(site, monkeypatch):
    site.add("unwanted", "raise RuntimeError('was loaded')")
    monkeypatch.setenv(ALLOW_LIST_VARIABLE, "")
    assert registry().plugins == []


def test_strict_raises_what_the_plugin_raised(site, monkeypatch):
    site.add("bad", "import a_module_that_is_not_there")
    monkeypatch.setenv(ALLOW_LIST_VARIABLE, "bad")
    assert problem(registry(), "bad")
    registry.cache_clear()
    monkeypatch.setenv(STRICT_VARIABLE, "1")
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_there"):
        registry()


def test_the_registry_is_read_once(site, monkeypatch):
    monkeypatch.setenv(ALLOW_LIST_VARIABLE, "")
    assert registry() is registry_module.registry()


def test_capabilities_survive_registration(site):
    site.add(
        "one",
        "@hookimpl\ndef golfbench_models():\n"
        "    return [ModelSpec(name='net', factory='m:a', summary='', elements=DRUGLIKE_ELEMENTS, trainable=False)]",
    )
    spec = site.registry().find(ModelSpec, "net")
    assert (spec.elements, spec.trainable, spec.charged) == (DRUGLIKE_ELEMENTS, False, False)
