"""``golfbench models list|fetch``: the models that are installed, and the weights that they know by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from golfbench.cli import console
from golfbench.cli.components import show_components
from golfbench.cli.describe import symbols
from golfbench.cli.options import JsonOption, complete
from golfbench.cli.streams import session
from golfbench.errors import ConfigurationError, NothingToDoError, unknown_name
from golfbench.registry import registry
from golfbench.specs import ModelSpec, NamedWeights
from golfbench.store import VARIABLE, stored

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A model, for its first weights, or MODEL:weights=NAME.",
        autocompletion=complete("model"),
        show_default=False,
    ),
]
FileOption = Annotated[
    Path | None, typer.Option("--file", help="The file, or its wheel, got by other means.", show_default=False)
]
UrlOption = Annotated[
    str | None, typer.Option("--url", help="Another address of the same file, such as a mirror.", show_default=False)
]
AcceptOption = Annotated[bool, typer.Option("--accept-licence", help="Accept the licence of the weights; remembered.")]
UnsafeOption = Annotated[
    bool, typer.Option("--unsafe", help="Allow a --file or --url of unknown hash that can run code when it is read.")
]


def register(app: typer.Typer) -> None:
    """Add the group ``models``."""
    group = typer.Typer(no_args_is_help=True, help="The models that are installed, and their weights.")
    group.command("list")(list_models)
    group.command("fetch", help=f"{fetch.__doc__}".replace("STORE", VARIABLE))(fetch)
    app.add_typer(group, name="models")


def list_models(json: JsonOption = False) -> None:
    """List the models that are installed, and the weights that they know by name."""
    show_components("model", json)
    if not json and (rows := list(_rows())):
        columns = ("weights", "method", "licence", "elements", "charged", "MB", "here", "summary")
        console.print_table(columns, rows)


def named_weights() -> Iterator[tuple[ModelSpec, NamedWeights]]:
    """Yield the weights that models know by name."""
    for spec in registry().specs("model"):
        if isinstance(spec, ModelSpec):
            yield from ((spec, weights) for weights in spec.weights)


def _rows() -> Iterator[tuple[object, ...]]:
    for spec, weights in named_weights():
        path = stored(spec, weights)
        size = path.stat().st_size if path else weights.source.size_bytes
        yield (
            f"{spec.name}:weights={weights.name}",
            weights.method,
            weights.license,
            symbols(weights.elements or spec.elements),
            "yes" if weights.charged else "no",
            f"{size / 1e6:.1f}" if size else "",
            "yes" if path else "no",
            weights.summary,
        )


def fetch(
    model: ModelArgument,
    file: FileOption = None,
    url: UrlOption = None,
    accept_licence: AcceptOption = False,
    unsafe: UnsafeOption = False,
) -> None:
    """Bring weights into the store that runs read: downloaded, checked by their hash, converted once.

    Does nothing if they are there already. The store is the folder STORE, by default one of the user's data.
    """
    spec, weights = _wanted(model)
    if file is not None and url is not None:
        raise ConfigurationError("--file and --url exclude each other")
    from golfbench.learning.fetch import Wish, fetch

    session.resumes = True
    name = f"{spec.name}:weights={weights.name}"
    with console.Progress() as progress:

        def report(done: int, total: int) -> None:
            if total:
                progress(f"{name}, kB", done // 1000, total // 1000)

        path = fetch(spec, weights, Wish(file, url or "", accept_licence, unsafe, console.note, report))
    console.note(f"{name} ({weights.method}, {weights.license}) is in {path}")


def _wanted(text: str) -> tuple[ModelSpec, NamedWeights]:
    ref, spec = (found := registry().component(ModelSpec, text)).ref, found.spec
    if not spec.weights:
        raise NothingToDoError(f"model '{spec.name}' knows no weights by name")
    known = {weights.name: weights for weights in spec.weights}
    if others := sorted(set(ref.parameters) - {"weights"}):
        raise ConfigurationError(f"'{text}': weights are named MODEL:weights=NAME, without {', '.join(others)}")
    name = str(ref.parameters.get("weights", spec.weights[0].name))
    if name not in known:
        raise ConfigurationError(f"model '{spec.name}': " + unknown_name("set of weights", name, known))
    return spec, known[name]
