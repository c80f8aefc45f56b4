"""How large a piece of the shipped code may be, and that the modules of ``golfbench/`` form no circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "golfbench"
#: All code that is shipped, without tests.
SHIPPED = [p for place in (PACKAGE, *ROOT.glob("plugins/*/src"), ROOT / "datasets/src") for p in place.rglob("*.py")]

MOST_LINES_OF_A_CLASS, MOST_LINES_OF_A_MODULE, MOST_PARAMETERS, MOST_PARSERS = 199, 500, 8, 3


def long_classes(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.end_lineno is not None:
            lines = node.end_lineno - node.lineno + 1
            if lines > MOST_LINES_OF_A_CLASS:
                yield f"class {node.name} has {lines} lines"


def wide_functions(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            count = len([a for a in arguments if a.arg not in ("self", "cls")])
            if count > MOST_PARAMETERS:
                yield f"line {node.lineno}: a function of {count} parameters"


def parsers(tree: ast.AST) -> int:
    """Count the places where the text of a component is read."""
    found = 0
    for node in ast.walk(tree):
        found += isinstance(node, ast.Attribute) and ast.unparse(node) == "ComponentRef.parse"
        if isinstance(node, ast.ClassDef) and node.name == "ComponentRef":
            found += sum(isinstance(n, ast.Attribute) and ast.unparse(n) == "cls.parse" for n in ast.walk(node))
    return found


def at_once(tree: ast.AST) -> Iterator[str]:
    """Yield what a module imports when it is imported itself."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not (
            isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        ):
            yield from at_once(node)


def circle(code: Mapping[str, ast.AST]) -> list[str]:
    """Return modules that import one another, or nothing."""
    graph = {}
    for name, tree in code.items():
        found = {other if other in code else other.rpartition(".")[0] for other in at_once(tree)}
        graph[name] = (found & code.keys()) - {name}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def parsed() -> dict[Path, ast.AST]:
    return {path.relative_to(ROOT): ast.parse(path.read_text(encoding="utf-8")) for path in SHIPPED}


def test_classes_are_short() -> None:
    assert [f"{path}: {line}" for path, tree in parsed().items() for line in long_classes(tree)] == []


def test_modules_are_short() -> None:
    lines = {path.relative_to(ROOT): len(path.read_text(encoding="utf-8").splitlines()) for path in SHIPPED}
    assert {path: count for path, count in lines.items() if count > MOST_LINES_OF_A_MODULE} == {}


def test_functions_have_few_parameters() -> None:
    for_people = {("golfbench", "cli"), ("golfbench", "api")}  # whose parameters are what a person can say
    code = {path: tree for path, tree in parsed().items() if path.parts[:2] not in for_people}
    assert [f"{path}, {line}" for path, tree in code.items() for line in wide_functions(tree)] == []


def test_the_text_of_a_component_is_read_in_few_places() -> None:
    found = {str(path): count for path, tree in parsed().items() if (count := parsers(tree))}
    assert 0 < sum(found.values()) <= MOST_PARSERS, found


def test_no_modules_import_one_another() -> None:
    code = {
        ".".join(path.with_suffix("").parts).removesuffix(".__init__"): tree
        for path, tree in parsed().items()
        if path.parts[0] == "golfbench"
    }
    assert circle(code) == []


@pytest.mark.parametrize(
    ("check", "text", "found"),
    [
        (long_classes, "class A:\n" + "    x = 1\n" * 199, ["class A has 200 lines"]),
        (long_classes, "class A:\n" + "    x = 1\n" * 198, []),
        (wide_functions, "def f(self, a, b, c, d, /, e, f, *, g, h): ...", []),
        (wide_functions, "def f(a, b, c, d, e, f, *rest, g, h, i): ...", ["line 1: a function of 9 parameters"]),
    ],
)
def test_the_measures_see_what_is_too_large(check, text: str, found: list[str]) -> None:
    assert list(check(ast.parse(text))) == found


def test_the_measures_see_parsers_and_circles() -> None:
    assert parsers(ast.parse("a = ComponentRef.parse(x)\nb = map(ComponentRef.parse, y)")) == 2
    assert parsers(ast.parse("class ComponentRef:\n    def f(cls): return cls.parse('x')")) == 1
    texts = {"a": "import b", "b": "from c import d", "c": "import a", "d": "def f():\n    import a"}
    assert set(circle({name: ast.parse(text) for name, text in texts.items()})) == {"a", "b", "c"}
    texts["c"] = "if TYPE_CHECKING:\n    import a"
    assert circle({name: ast.parse(text) for name, text in texts.items()}) == []
