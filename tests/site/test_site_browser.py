"""The built site in a real browser, opened from disk: what a person does with it, with mouse, keyboard and phone."""

import copy
import json
from functools import partial
from importlib.resources import files
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from golfbench.leaderboard.build import write
from golfbench.leaderboard.content import content_of, section
from golfbench.leaderboard.entries import canonical_text
from golfbench.leaderboard.standings import rank_entries, standings_of
from golfbench.site.folder import site_files
from golfbench.site.geometries import geometries
from golfbench.site.page import assembled, page

pytest.importorskip("selenium")

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

EVIL = "<img src=x onerror=\"document.body.id='evil'\"></script><script>document.body.id='evil'</script>"
#: Pixels of the view that are not background.
PAINTED = """
const canvas = document.querySelector('.viewer canvas');
const bytes = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
let painted = 0;
for (let n = 3; n < bytes.length; n += 4) painted += bytes[n] > 0;
return painted;
"""
PICTURE = "return document.querySelector('.viewer canvas').toDataURL()"
WIDTHS = "return [document.documentElement.scrollWidth, window.innerWidth]"
FIGURES = """
return [...document.querySelectorAll('.plot')].filter((area) => !area.hidden && area.data)
  .map((area) => JSON.stringify({ data: area.data, layout: area.layout }));
"""


def until(browser, condition):
    """Return what a condition says once it holds: how long that takes depends on what else the machine does."""
    return WebDriverWait(browser, 30).until(condition)


@pytest.fixture(scope="module")
def leaderboards(tmp_path_factory, mini, published, changed):
    """The small track with its published entries, in which walks have energies on the way, and a track without any."""

    def walk(parts):
        for run in parts["runs"]:
            for record in run["records"]:
                if record["status"] == "converged":
                    ends = record["energy_initial_hartree"], record["energy_final_hartree"]
                    record["energies_at_step_hartree"] = {"2": sum(ends) / 2, "10": ends[1]}

    folder = tmp_path_factory.mktemp("leaderboards")
    for name, entries in ((mini.name, [changed(entry, walk) for entry in published]), ("without-entries", [])):
        (folder / name).mkdir()
        own = mini.model_copy(update={"name": name})
        (folder / name / "track.yaml").write_text(json.dumps(own.model_dump(mode="json")))
        for entry in entries:
            (folder / name / f"{entry.entry_id}.json").write_text(canonical_text(entry))
    return folder


@pytest.fixture(scope="module")
def site(leaderboards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    tracks = [standings_of(path) for path in sorted(leaderboards.iterdir())]
    write(site_files(leaderboards, folder, tracks))
    return folder / "index.html"


@pytest.fixture
def view(browser, site):
    """Show a view of the site, opening the page if it is not there or is to be opened anew.

    Afterwards nothing may have been reported as an error or asked of a network.
    """

    def shown(view="#track=druglike-mini", page=site, anew=False):
        if anew or not browser.current_url.startswith(page.as_uri()):
            browser.get("about:blank")
            browser.get(page.as_uri() + view)
        else:
            browser.execute_script("window.location.hash = arguments[0]", view)
        return browser

    browser.get_log("performance")
    browser.get_log("browser")
    yield shown
    # What a browser thinks of these tests' own reading of the canvas is no fault of the page.
    assert [line for line in browser.get_log("browser") if "readback" not in line["message"]] == []
    messages = [json.loads(line["message"])["message"] for line in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    pages = [url for url in asked if urlparse(url).scheme == "file" and urlparse(url).path.endswith(".html")]
    assert [url for url in asked if url not in pages and urlparse(url).scheme not in ("data", "blob")] == []


def entries_shown(browser):
    return [button.get_attribute("data-entry") for button in browser.find_elements(By.CSS_SELECTOR, "[data-entry]")]


def residuals_shown(browser):
    column = browser.execute_script(
        "const heads = [...document.querySelectorAll('thead')[0].querySelectorAll('th')];"
        "const place = heads.findIndex((th) => th.dataset.key === 'residual_kcal_mol_mean_all');"
        "return [...document.querySelectorAll('tr')].filter((tr) => tr.querySelector('[data-entry]'))"
        ".map((tr) => tr.children[place].firstChild.textContent);"
    )
    return [float(text) for text in column]


def test_a_click_sorts_and_a_choice_filters(view):
    browser = view()
    assert browser.title == "druglike-mini: twelve drugs at GFN2-xTB – golfbench leaderboards"
    unfold(browser)
    standing = residuals_shown(browser)
    assert len(standing) == 4
    seen = []
    for _ in range(3):
        browser.find_element(By.CSS_SELECTOR, "th[data-key=residual_kcal_mol_mean_all] button").click()
        head = browser.find_element(By.CSS_SELECTOR, "th[data-key=residual_kcal_mol_mean_all]")
        assert browser.switch_to.active_element.text.startswith("Residual, all")
        seen.append((head.get_attribute("aria-sort"), residuals_shown(browser)))
    expected = [("ascending", sorted(standing)), ("descending", sorted(standing, reverse=True)), ("none", standing)]
    assert seen == expected
    Select(labelled(browser, "Selection", "select")).select_by_visible_text("golf")
    assert len(entries_shown(browser)) == 1
    assert "selection=golf" in browser.current_url
    assert browser.find_element(By.CSS_SELECTOR, "p[role=status]").text == "1 of 4 entries shown."
    browser.find_element(By.XPATH, "//button[.='Clear']").click()
    labelled(browser, "Search", "input").send_keys("PaiNN random")
    assert len(entries_shown(browser)) == 1
    assert "_random_" in entries_shown(browser)[0]


def unfold(browser):
    """Open the lines of selections that cannot be told apart."""
    for fold in browser.find_elements(By.CSS_SELECTOR, "[data-fold][aria-expanded=false]"):
        fold.click()


def test_the_answer_stands_first_and_its_numbers_are_those_of_the_entry(view, content):
    browser = view()
    (track,) = content["tracks"]
    answer = browser.find_element(By.CSS_SELECTOR, ".answer")
    assert track["answer"]["sentence"] in answer.text
    chosen = next(e for e in track["entries"] if e["entry_id"] == track["answer"]["entry_id"])
    tiles = [tile.text for tile in answer.find_elements(By.CSS_SELECTOR, ".tiles li")]
    number = chosen["estimates"][track["ranked"]]
    assert tiles[0] == (f"{number['value']:.2f} kcal/mol\nResidual, all [{number['low']:.2f}, {number['high']:.2f}]")
    assert tiles[2].startswith("0 labels")  # mmff94
    assert answer.rect["y"] < browser.find_element(By.CSS_SELECTOR, "table").rect["y"]


def test_selections_that_nobody_can_tell_apart_are_one_line_that_opens(view):
    browser = view(anew=True)
    fold = browser.find_element(By.CSS_SELECTOR, "[data-fold]")
    assert fold.text.endswith("painn:preset=small\n2 selections")
    assert len(entries_shown(browser)) == 2
    line = browser.execute_script("return [...arguments[0].closest('tr').children].map((cell) => cell.innerText)", fold)
    assert "random, golf" in line
    # The range of both values, and the interval that holds both intervals.
    assert line[2] == "17.73 to 20.91\n[11.37, 28.68]"
    fold.send_keys(Keys.ENTER)
    assert len(entries_shown(browser)) == 4
    assert browser.switch_to.active_element.get_attribute("aria-expanded") == "true"
    assert [row.find_element(By.CSS_SELECTOR, "[data-entry]").is_displayed() for row in members(browser)] == [True] * 2
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert len(entries_shown(browser)) == 2
    view("#track=druglike-mini&selection=golf")  # one that stands alone needs no line for two
    assert len(entries_shown(browser)) == 1
    assert not browser.find_elements(By.CSS_SELECTOR, "[data-fold]")


def members(browser):
    return browser.find_elements(By.CSS_SELECTOR, "tr.member")


def test_what_is_the_same_for_all_entries_is_a_fact_and_no_column(view):
    browser = view("#track=druglike-mini&all=1")
    columns = browser.execute_script(
        "return [...document.querySelectorAll('thead')[0].querySelectorAll('th')].map((th) => th.dataset.key)"
    )
    assert columns[:3] == ["rank", "model", "residual_kcal_mol_mean_all"]
    assert "optimizer" not in columns
    assert "steps_mean" in columns
    facts = browser.find_element(By.CSS_SELECTOR, "details.about").text
    assert "Optimizer, of all entries\nrfo-internal" in facts


def test_a_section_without_content_is_not_there(view):
    browser = view()
    headings = "return [...document.querySelectorAll('h3, h4')].filter((h) => h.offsetParent).map((h) => h.textContent)"
    full = ["Quality against labels", "Speed against quality", "Learning curves", "Minimization curves"]
    until(browser, lambda b: set(full) <= set(b.execute_script(headings)))
    view("#track=druglike-mini&stage=reference")  # a fixed model learns nothing
    until(browser, lambda b: "Learning curves" not in b.execute_script(headings))
    view("#track=druglike-mini&q=there-is-no-such-entry")
    until(browser, lambda b: not {*full, "Quality and cost", "Molecule by molecule"} & set(b.execute_script(headings)))
    view("#track=without-entries")
    until(browser, lambda b: b.execute_script(headings) == ["Standings", "Molecules"])


def test_a_legend_has_eight_names_at_most(view, mini, published, changed, tmp_path):
    """Twelve models with three entries each; none is named twice, and the best ones are named."""
    learning = [entry for entry in published if entry.stage != "reference"]
    entries = [changed(entry, partial(worse, n)) for n in range(12) for entry in learning]
    file = tmp_path / "many.html"
    file.write_text(page([section(mini, rank_entries(mini, entries))], "many"))
    browser = view("", file)
    names = (
        "return [...document.querySelectorAll('.plot')].filter((area) => area.data && area.offsetParent)"
        ".map((area) => [...area.querySelectorAll('.legendtext')].map((text) => text.textContent));"
    )
    until(browser, lambda b: len(b.execute_script(names)) >= 3)
    legends = browser.execute_script(names)
    assert max(map(len, legends)) == 8
    best = [f"model-{n}" for n in range(7)]
    assert [sorted(legend) for legend in legends[:3]] == [sorted([*best, "other models"])] * 3


def worse(n, parts):
    """Make an entry that of another model, whose end points lie n tenths of a kcal/mol higher."""
    parts["model"] = f"model-{n}"
    for run in parts["runs"]:
        for record in run["records"]:
            record["model"] = parts["model"]
            record["combination"] = record["combination"].replace("painn:preset=small", parts["model"])
            if record["energy_final_hartree"] is not None and record["status"] != "diverged":
                higher = record["energy_final_hartree"] + n / 6275
                record["energy_final_hartree"] = min(higher, record["energy_initial_hartree"])


@pytest.mark.parametrize("width", [375, 768, 1280])
def test_the_score_stands_beside_the_name_at_every_width(view, width):
    browser = view(anew=True)  # a table that was scrolled at another width would stay as it is
    screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    try:
        view("#track=druglike-mini&all=1")
        until(browser, lambda b: b.execute_script("return window.innerWidth") == width)
        score = browser.execute_script(
            "const cell = document.querySelector('[data-entry]').closest('tr').children[2];"
            "const box = cell.getBoundingClientRect(); return [cell.innerText, box.left, box.right];"
        )
        assert score[0] == "4.31\n[3.24, 5.32]"
        assert 0 < score[1] < score[2] <= width
        # Where columns are out of sight, a line says so until they have been scrolled to.
        cue = "return document.querySelector('.frame .cue').offsetParent !== null"
        assert until(browser, lambda b: b.execute_script(cue))
        browser.execute_script("document.querySelector('.scroll').scrollLeft = 10000")
        until(browser, lambda b: not b.execute_script(cue))
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def labelled(browser, label, tag):
    return browser.find_element(By.XPATH, f"//label[starts-with(., '{label}')]/{tag}")


def test_an_entry_opens_and_every_link_resolves(view, site):
    browser = view()
    unfold(browser)
    links = set()
    for number in range(4):
        button = browser.find_elements(By.CSS_SELECTOR, "[data-entry]")[number]
        name = button.get_attribute("data-entry")
        button.click()
        panel = browser.find_element(By.CSS_SELECTOR, ".panel").text
        for words in ("Weights" if "painn" in name else "mmff94", "Hardware", "Command", "golfbench run"):
            assert words in panel
        links |= {link.get_attribute("href") for link in browser.find_elements(By.TAG_NAME, "a")}
    local = [urlparse(link) for link in links if link.startswith("file:")]
    names = {unquote(link.path).rpartition("/")[2] for link in local}
    assert {"track.yaml", "leaderboard.csv", "index.html"} < names
    assert len(names) == 3 + 4
    assert all(Path(unquote(link.path)).is_file() for link in local)
    away = {urlparse(link).netloc for link in links if not link.startswith("file:")}
    assert away == {"doi.org", "arxiv.org"}


def test_pretrained_weights_are_told_and_an_unknown_overlap_is_marked(view, mini, trained, changed, tmp_path):
    """The trained entry, and the same from weights made elsewhere: of the second the training labels alone count."""

    def pretrained(overlap):
        def edit(parts):
            parts["weights"] = {"name": "big", "license": "MIT", "method": "PBE0", "file_sha256": "c" * 64}
            parts["weights"]["overlap"] = overlap
            parts["settings"]["initial_labels"] = 0 if overlap == "unknown" else 5
            for run in parts["runs"]:
                run["cost"]["labels"] = 64 if overlap == "unknown" else 69

        return edit

    entries = [trained, *(changed(trained, pretrained(overlap)) for overlap in ("unknown", "Aspirin is in it."))]
    file = tmp_path / "page.html"
    file.write_text(page([section(mini, rank_entries(mini, entries))], "pretrained"))
    browser = view(page=file)
    cells = browser.execute_script(
        "const heads = [...document.querySelectorAll('thead')[0].querySelectorAll('th')];"
        "const place = heads.findIndex((th) => th.dataset.key === 'labels');"
        "return [...document.querySelectorAll('tr')].filter((tr) => tr.querySelector('[data-entry]'))"
        ".map((tr) => [tr.querySelector('[data-entry]').dataset.entry, tr.children[place].textContent,"
        " tr.querySelector('[data-entry]').textContent.includes('⚠')]);"
    )
    own, unknown, known = (entry.entry_id for entry in entries)
    assert sorted(cells) == sorted([[own, "304", False], [unknown, "64", True], [known, "69", False]])
    for name, told in ((unknown, "unknown ⚠"), (known, "Aspirin is in it.")):
        browser.find_element(By.CSS_SELECTOR, f"[data-entry='{name}']").click()
        panel = browser.find_element(By.CSS_SELECTOR, ".panel").text
        for words in ("Pretrained weights", "big", "MIT", "PBE0", "c" * 64, f"Overlap with the test molecules\n{told}"):
            assert words in panel
    browser.find_element(By.CSS_SELECTOR, f"[data-entry='{own}']").click()
    assert "Pretrained weights" not in browser.find_element(By.CSS_SELECTOR, ".panel").text
    titles = [json.loads(figure)["layout"]["xaxis"]["title"]["text"] for figure in browser.execute_script(FIGURES)]
    assert [titles[0], titles[2]] == ["Labels learned from in all"] * 2
    models = browser.find_element(By.CSS_SELECTOR, "section[aria-label=Models]").text
    assert "240 initial labels at GFN2-xTB" in models
    assert "pretrained weights big, trained at PBE0 (MIT)" in models


def test_a_molecule_is_drawn_and_every_walk_on_it_is_listed(view):
    browser = view()
    browser.find_element(By.CSS_SELECTOR, "[data-molecule='caffeine/0']").click()
    until(browser, lambda b: b.execute_script(PAINTED) > 3000)
    assert browser.switch_to.active_element.text == "caffeine/0"
    walks = browser.find_elements(By.CSS_SELECTOR, "#molecule input[name=walk]")
    assert len(walks) == 2 + 3 + 3
    before = browser.execute_script(PICTURE)
    label = browser.find_element(By.CSS_SELECTOR, ".viewer canvas").get_attribute("aria-label")
    assert label.startswith("Three-dimensional view of caffeine/0, C8H10N4O2. Shown: end point, reference minimum.")
    walks[-1].click()
    until(browser, lambda b: b.execute_script(PICTURE) != before)
    words = browser.find_element(By.CSS_SELECTOR, "#molecule p[role=status]").text
    assert "golf · 64, seed 2" in words
    assert "kcal/mol above the reference minimum" in words
    browser.find_element(By.XPATH, "//summary[.='Coordinates as a table']").click()
    rows = "#molecule details[open] tbody tr"
    until(browser, lambda b: len(b.find_elements(By.CSS_SELECTOR, rows)) == 2 * 24)
    again = view(browser.current_url.partition("index.html")[2], anew=True)
    assert (
        again.find_element(By.CSS_SELECTOR, "#molecule input[name=walk]:checked").get_attribute("value").endswith("/2")
    )


def test_keyboard_alone_is_enough(view):
    browser = view(anew=True)
    active = browser.switch_to.active_element
    active.send_keys(Keys.TAB)
    assert browser.switch_to.active_element.text == "Skip to the content"
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    for _ in range(60):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        if browser.switch_to.active_element.get_attribute("data-entry"):
            break
    first = browser.switch_to.active_element.get_attribute("data-entry")
    outline = browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert browser.switch_to.active_element.get_attribute("data-entry") == first
    assert browser.switch_to.active_element.get_attribute("aria-expanded") == "true"
    browser.find_element(By.CSS_SELECTOR, "[data-molecule]").send_keys(Keys.ENTER)
    canvas = browser.find_element(By.CSS_SELECTOR, ".viewer canvas")
    until(browser, lambda b: b.execute_script(PAINTED) > 3000)
    before = browser.execute_script(PICTURE)
    canvas.send_keys(Keys.ARROW_RIGHT)
    until(browser, lambda b: b.execute_script(PICTURE) != before)
    browser.back()
    assert "molecule=" not in browser.current_url
    assert not browser.find_elements(By.CSS_SELECTOR, ".viewer")


def test_figures_are_plotly_s_and_have_tables(view):
    import plotly.graph_objects as go

    browser = view()
    until(browser, lambda b: len(b.execute_script(FIGURES)) == 5)
    for mode in ("", "&plot=ecdf&number=pct_all"):
        view(f"#track=druglike-mini{mode}")
        until(browser, lambda b: len(b.execute_script(FIGURES)) == 5)
        figures = [go.Figure(json.loads(text)) for text in browser.execute_script(FIGURES)]
        assert all(len(figure.data) >= 2 for figure in figures)
    assert figures[0].data[0].name == "Pareto front"
    for summary in browser.find_elements(By.XPATH, "//summary[.='The numbers as a table']"):
        summary.click()
    rows = [
        len(d.find_elements(By.CSS_SELECTOR, "tbody tr"))
        for d in browser.find_elements(By.CSS_SELECTOR, "figure details")
    ]
    assert rows == [4, 4, 4, 4, 12]


def test_dark_mode_is_a_choice_that_stays(view):
    browser = view()
    background = "return getComputedStyle(document.body).backgroundColor"
    light = browser.execute_script(background)
    button = browser.find_element(By.ID, "theme")
    button.click()
    assert browser.execute_script(background) != light == "rgb(255, 255, 255)"
    assert button.get_attribute("aria-pressed") == "true"
    paper = browser.execute_script("return document.querySelector('.plot').layout.paper_bgcolor")
    assert paper == "#101418"
    assert view(anew=True).execute_script(background) != light
    browser.execute_script("localStorage.clear()")
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    try:
        assert view(anew=True).execute_script(background) != light
        browser.execute_script("document.documentElement.dataset.theme = 'light'")
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_a_phone_shows_it_without_scrolling_sideways(view):
    browser = view()
    phone = {"width": 375, "height": 700, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        for where in ("#track=druglike-mini&molecule=aspirin/0", "#track=without-entries"):
            view(where)
            # Figures that were drawn for a wider page are drawn again, some time later.
            until(browser, lambda b: b.execute_script(WIDTHS) == [375, 375])
        browser.find_element(By.CSS_SELECTOR, "[data-molecule]").click()
        until(browser, lambda b: b.execute_script(PAINTED) > 3000)
        assert "There is no entry yet." in browser.find_element(By.TAG_NAME, "main").text
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_axe_finds_no_fault(view):
    axe = files(pytest.importorskip("axe_core_python")).joinpath("axe.min.js").read_text(encoding="utf-8")
    browser = view("#track=druglike-mini&molecule=aspirin/0&all=1")
    browser.find_elements(By.CSS_SELECTOR, "[data-entry]")[-1].click()
    browser.execute_script(
        "[...document.querySelectorAll('details')].slice(0, 3).forEach((part) => { part.open = true; })"
    )
    browser.execute_script(axe)
    run = (
        "const done = arguments[1]; axe.run(arguments[0])"
        ".then((r) => done([r.passes.length, r.violations.map((v) => [v.id, v.nodes.slice(0, 3).map((n) => n.html)])]))"
    )
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
    passed, faults = browser.execute_async_script(run, rules)
    assert faults == []
    assert passed > 25
    browser.find_element(By.ID, "theme").click()
    assert browser.execute_async_script(run, {"runOnly": ["color-contrast"]}) == [1, []]
    browser.find_element(By.ID, "theme").click()
    browser.execute_script("localStorage.clear()")


def test_nothing_from_an_entry_is_run_or_becomes_an_element(view, shown, tmp_path):
    content = json.loads(json.dumps({"title": "x", "version": "0", **content_of([shown])}))
    shapes = copy.deepcopy(geometries(shown))
    (track,) = content["tracks"]
    track["folds"], track["answer"]["sentence"], track["answer"]["remarks"] = [], EVIL, [EVIL]
    for number, entry in enumerate(track["entries"]):
        entry["model"] = entry["title"] = f"{number}{EVIL}"
        entry["selection"] = EVIL
        entry["credits"] = {
            "licenses": {EVIL: EVIL},
            "weights_license": EVIL,
            "citations": {"a": "javascript:alert(1)", "b": EVIL, "c": "10.1000/x\njavascript:alert(1)"},
            "submitter": EVIL,
        }
        entry["provenance"]["argv"] = [EVIL]
        entry["settings"] = {EVIL: {EVIL: EVIL}}
    track["molecules"][0] |= {"id": EVIL, "smiles": EVIL, "formula": EVIL}
    page = tmp_path / "evil.html"
    page.write_text(assembled(content, [shapes]), encoding="utf-8")
    browser = view("#sort=javascript:alert(1)&q=&molecule=" + EVIL, page)
    browser.find_element(By.CSS_SELECTOR, "[data-molecule]").click()
    browser.find_elements(By.CSS_SELECTOR, "[data-entry]")[-1].click()
    browser.execute_script("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    # What an error handler or a script would do has been done once the figures have their legends.
    legend = ".plot .legend"
    until(browser, lambda b: "<img src=x" in b.find_element(By.CSS_SELECTOR, legend).get_attribute("textContent"))
    until(browser, lambda b: b.execute_script("return document.readyState") == "complete")
    assert browser.execute_script("return document.body.id") == ""
    assert not browser.find_elements(By.CSS_SELECTOR, "body img, body iframe")
    schemes = {urlparse(a.get_attribute("href")).scheme for a in browser.find_elements(By.TAG_NAME, "a")}
    assert schemes == {"file"}
    assert EVIL in browser.find_element(By.CSS_SELECTOR, ".panel").text
    assert EVIL in browser.find_element(By.ID, "molecule-heading").text
