"""Every block of code on a page is run as it stands, or says why not; and every command is one that there is."""

import os
import re
import resource
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from doc_pages import DOCS, READ, ROOT, Block, Reader, Typist, blocks, pages

from golfbench import store
from golfbench.cli.main import build_app
from golfbench.runs.config import load_config

#: Made from docstrings and help texts; their examples stand in other pages, too.
GENERATED = ("cli.md", "configuration.md", "files.md", "hooks.md")
WRITTEN = [page for page in pages() if page not in GENERATED]
ALL = [block for page in WRITTEN for block in blocks(page)]
COMMAND = re.compile(r"`(golfbench [^`]+)`")
#: Of processor time, for all pages together: twice what a slow machine takes (110 s), so that only a page fails that
#: has become long, and no run for the machine that it is on.
LIMIT_S = 240
#: A sentence may name a command without its arguments.
LEFT_OPEN = ("MissingParameter", "BadOptionUsage")
#: Words of a command that stand for the reader's own.
PLACEHOLDER = re.compile(r"^\.\.\.$|^\[")


def test_no_block_is_hidden_from_these_tests() -> None:
    for page in WRITTEN:
        text = (DOCS / page).read_text(encoding="utf-8")
        assert text.count("```") == 2 * len(list(blocks(page))), page
        rest = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        assert not re.search(r"\n\n {4,}(golfbench|pip|from|import) ", rest), f"{page}: an indented block of code"


@pytest.mark.parametrize("block", [b for b in ALL if b.mark == "not run"], ids=lambda b: b.place)
def test_what_is_not_run_says_why(block: Block) -> None:
    assert re.match(r"(needs|minutes|hours|an hour|days|shows) ?", block.words), block.words


def commands() -> list[tuple[str, str]]:
    """Return every command of the suite that is not run here, in blocks and in sentences, with its place."""
    found = [
        (block.place, line)
        for block in ALL
        if block.language == "bash" and not block.runs
        for line in block.lines()
        if line.startswith("golfbench ")
    ]
    for page in WRITTEN:
        text = re.sub(r"```.*?```", "", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL)
        found += [(page, " ".join(match.split())) for match in COMMAND.findall(text)]
    return found


@pytest.mark.parametrize(("place", "line"), commands())
def test_a_command_is_one_that_there_is(place: str, line: str) -> None:
    """Verb and options exist, and values fit: it is read as the command line reads it, and not run."""
    words = shlex.split(re.split(r" (?:>>?|\|\|?|&&?) ?", line)[0], comments=True)[1:]
    command, path = typer.main.get_command(build_app()), ["golfbench"]
    while hasattr(command, "commands"):
        word = next((word for word in words if not word.startswith("-")), None)
        if word is None or PLACEHOLDER.search(word) or word.isupper():
            return  # the name of a group alone, or a word that stands for several verbs
        for name in word.split("|"):
            assert name in command.commands, f"{place}: {' '.join(path)} has no verb {name}"
        words.remove(word)
        path.append(word.split("|")[0])
        command = command.commands[path[-1]]
    given = [word for word in words if not PLACEHOLDER.search(word)]
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    unknown = [
        word
        for word in given
        if word.startswith("-") and word != "-" and word.partition("=")[0] not in {*options, "-h", "--help"}
    ]
    assert not unknown, f"{place}: {' '.join(path)} has no {unknown}"
    try:
        command.make_context(" ".join(path), given)
    except Exception as error:  # Typer has a click of its own
        if not (place.endswith(".md") and type(error).__name__ in LEFT_OPEN):
            raise AssertionError(f"{place}: {line}: {error}") from error


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a reader has who has just set everything up: the weights that the set-up fetches, an empty cache."""
    weights = Path(os.environ["GOLFBENCH_SETUP_WEIGHTS"])
    if not list(weights.glob("aimnet2/*")):
        pytest.skip("the weights of aimnet2 are not on this machine: golfbench models fetch aimnet2")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GOLFBENCH_")}
    cache = tmp_path_factory.mktemp("cache") / "labels.sqlite"
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, **threads, "PATH": path, "GOLFBENCH_WEIGHTS": str(weights), "GOLFBENCH_CACHE": str(cache)}


@pytest.fixture(scope="module")
def typist(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Typist]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    typist = Typist(tmp_path_factory.mktemp("typist"), environment)
    yield typist
    typist.close()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent < LIMIT_S, f"following the pages took {spent:.0f} s of processor time"


@pytest.mark.parametrize("page", [page for page in WRITTEN if any(b.runs for b in blocks(page))])
def test_a_reader_who_follows_a_page_gets_what_it_says(page: str, tmp_path: Path, typist: Typist) -> None:
    for name in ("examples", "leaderboards"):
        shutil.copytree(ROOT / name, tmp_path / name)
    reader = Reader(tmp_path, typist)
    for block in blocks(page):
        if block.runs:
            reader.follow(block)


@pytest.mark.parametrize("block", [b for b in ALL if b.language == "yaml" and not b.mark], ids=lambda b: b.place)
def test_a_configuration_is_one_that_the_suite_takes(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(block.text, encoding="utf-8")
    load_config(path, {})


@pytest.mark.parametrize("block", [b for b in ALL if b.language == "python"], ids=lambda b: b.place)
def test_python_on_a_page_can_be_read(block: Block) -> None:
    compile(block.text.replace("...,\n", ""), block.place, "exec")


def test_each_language_is_known() -> None:
    assert {block.language for block in ALL} <= {"bash", "python", "toml", *READ}
    assert store.folder()
