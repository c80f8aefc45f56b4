"""Pages to look at: two of made-up content, and a browser without a network."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from golfbench.leaderboard.content import Section, content_of, section
from golfbench.leaderboard.entries import Entry, sealed
from golfbench.leaderboard.standings import rank_entries, read_entries
from golfbench.leaderboard.tracks import Track, read_track

LEADERBOARDS = Path(__file__).parents[2] / "leaderboards"
CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1400,1000"),
)


@pytest.fixture(scope="session")
def mini() -> Track:
    return read_track(LEADERBOARDS / "druglike-mini")


@pytest.fixture(scope="session")
def published(mini: Track) -> list[Entry]:
    """The published entries of the small track that started from no pretrained weights: a fixed model, a network."""
    return [entry for entry in read_entries(LEADERBOARDS / mini.name, mini) if entry.weights is None]


@pytest.fixture(scope="session")
def trained(published: list[Entry]) -> Entry:
    """A trained one with three seeds."""
    return next(entry for entry in published if entry.stage == "after")


@pytest.fixture(scope="session")
def changed() -> Callable[..., Entry]:
    """Return an entry with some parts of its JSON changed, and with the id and hashes that follow."""

    def change(entry: Entry, edit: Callable[[dict[str, Any]], None]) -> Entry:
        parts = entry.model_dump(mode="json")
        edit(parts)
        return sealed(Entry.model_validate(parts))

    return change


@pytest.fixture(scope="session")
def shown(mini: Track, published: list[Entry]) -> Section:
    """The small track with its entries."""
    return section(mini, rank_entries(mini, published))


@pytest.fixture(scope="session")
def content(shown: Section) -> dict[str, Any]:
    found = content_of([shown])
    return json.loads(json.dumps(found, allow_nan=False))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser with an empty profile."""
    if not (CHROMIUM and DRIVER):
        pytest.skip("chromium and chromedriver are not installed: apt-get install chromium chromium-driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(300)  # a busy machine may need minutes for what takes a second
    driver.get("about:blank")  # what the browser shows by itself is no page of a test
    yield driver
    driver.quit()
