"""The site: built strictly, complete, and without anything that is loaded from elsewhere."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from doc_pages import DOCS, ROOT, pages

pytest.importorskip("material", reason="the extra `docs` is not installed")

#: Where a page names what a browser loads by itself; links that a reader follows are others.
LOADED = {
    ("script", "src"),
    ("img", "src"),
    ("iframe", "src"),
    ("link", "href"),
    ("source", "srcset"),
    ("object", "data"),
}
#: `link` elements that load nothing.
TOLD = {"canonical", "prev", "next", "alternate"}


class Addresses(HTMLParser):
    """Collects what a page loads, what it links to, and the places in it."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.places: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        for name, value in given.items():
            if (tag, name) in LOADED and given.get("rel") not in TOLD:
                self.loaded.append(value)
            if (tag, name) == ("a", "href"):
                self.links.append(value)


def read(path: Path) -> Addresses:
    found = Addresses()
    found.feed(path.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_in_the_navigation_once() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = re.findall(r"(\S+\.md)$", text.partition("\nnav:")[2], flags=re.MULTILINE)
    assert sorted(named) == pages()


def test_a_browser_loads_nothing_from_elsewhere(site: Path) -> None:
    seen = list(site.rglob("*.html"))
    assert len(seen) > len(pages())
    for path in seen:
        foreign = [address for address in read(path).loaded if urlsplit(address).netloc]
        assert foreign == [], path.name
        text = path.read_text(encoding="utf-8")
        assert 'http-equiv="Content-Security-Policy"' in text
        assert not re.search(r"@import|url\(\s*['\"]?https?:", text)
        scripts = re.findall(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", text, flags=re.DOTALL)
        assert not [script for script in scripts if re.search(r"\bhttps?://|\bunpkg\b", script)], path.name
    for path in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", path.read_text(encoding="utf-8")), path.name


def test_every_link_within_the_site_leads_somewhere(site: Path) -> None:
    """Also those that the theme makes, and those of pages that come from other folders of the repository."""
    found = {path: read(path) for path in site.rglob("*.html") if path.name != "404.html"}
    for page, addresses in found.items():
        for link in addresses.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            assert target.exists(), f"{page.name}: {link}"
            if parts.fragment and target.suffix == ".html":
                assert unquote(parts.fragment) in found[target].places, f"{page.name}: {link}"


def test_the_pages_that_a_reader_needs_are_there() -> None:
    """Start, tutorials, how-to, reference and help: at least one of each, and none that is empty."""
    navigation = re.findall(
        r"^  - (.+):", (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2], re.MULTILINE
    )
    assert navigation == ["Home", "Start", "Tutorials", "How to", "Reference", "Background", "Help"]
    assert min(len((DOCS / page).read_text(encoding="utf-8")) for page in pages()) > 800
    assert yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["theme"]["font"] is False
