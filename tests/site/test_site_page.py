"""The page as text: what is in it, that it is the same each time, and that nothing in an entry becomes markup."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from golfbench.benchmark.metrics import pct_curve
from golfbench.cli.main import build_app
from golfbench.leaderboard.content import Section, section
from golfbench.leaderboard.geometries import unpack
from golfbench.leaderboard.measures import MEASURES, residual_all
from golfbench.leaderboard.standings import all_standings, rank_entries
from golfbench.leaderboard.tracks import track_folders
from golfbench.site.geometries import bonds_by_distance, encoded, geometries, principal, superposed
from golfbench.site.page import page

LEADERBOARDS = Path(__file__).parents[2] / "leaderboards"
EVIL = '<img src=x onerror="document.title=1"></script><script>document.title=2</script><!--'


class Blocks(HTMLParser):
    """The elements of a page, and the text of its scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.blocks, self.meta = [], [], {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        found = dict(attrs)
        if tag == "script":
            self.blocks.append((found, ""))
        if tag == "meta" and "http-equiv" in found:
            self.meta[found["http-equiv"]] = found["content"]

    def handle_data(self, data):
        if self.tags and self.tags[-1] == "script" and self.blocks:
            found, text = self.blocks[-1]
            self.blocks[-1] = found, text + data

    def handle_endtag(self, tag):
        self.tags.append(f"/{tag}")

    def data(self, id):
        return json.loads(next(text for found, text in self.blocks if found.get("id") == id))

    @property
    def code(self):
        return [text for found, text in self.blocks if "type" not in found]


def values(entries, molecule, field, run=0):
    return [entry["runs"][run]["results"][field][molecule] for entry in entries]


# --- Content -----------------------------------------------------------------------------------------------------


def test_results_are_columns_in_the_order_of_the_molecules(content, trained):
    (track,) = content["tracks"]
    assert [m["id"] for m in track["molecules"]][:2] == ["aspirin/0", "paracetamol/0"]
    assert track["molecules"][0]["formula"] == "C9H8O4"
    assert track["molecules"][0]["descent_kcal_mol"] == pytest.approx(20.88, abs=0.01)
    shown = next(entry for entry in track["entries"] if entry["entry_id"] == trained.entry_id)
    assert shown["seeds"] == [0, 1, 2]
    for run, seed in zip(shown["runs"], trained.runs, strict=True):
        assert run["results"]["status"] == [record.status.value for record in seed.records]
        expected = [None if (v := residual_all(record)) is None else round(v, 3) for record in seed.records]
        assert run["results"]["residual_kcal_mol_all"] == expected


def test_quartiles_are_those_of_all_molecules_and_seeds(content, trained):
    (track,) = content["tracks"]
    shown = next(entry for entry in track["entries"] if entry["entry_id"] == trained.entry_id)
    numbers = [residual_all(record) for run in trained.runs for record in run.records]
    assert len(numbers) == 36
    expected = np.quantile(numbers, [0, 0.25, 0.5, 0.75, 1])
    assert shown["quartiles"]["residual_kcal_mol_all"] == pytest.approx(expected, abs=5e-4)


def test_a_molecule_without_a_record_is_missing_and_the_entry_has_no_rank(mini, trained, changed):
    def lose(parts):
        run = parts["runs"][0]
        run["missing"] = [run["records"].pop(0)["molecule"]]

    entry = changed(trained, lose)
    shown = content_entries(section(mini, rank_entries(mini, [entry])))[0]
    assert shown["n_missing"] == 1
    assert shown["rank"] is None
    assert values([shown], 0, "status") == ["missing"]
    assert values([shown], 0, "pct") == [None]


def content_entries(shown: Section):
    return Blocks(page([shown], "one")).data("content")["tracks"][0]["entries"]


def test_the_curve_is_the_mean_over_seeds_from_zero(mini, trained, changed):
    def walk(parts):
        for shift, run in enumerate(parts["runs"]):
            for record in run["records"]:
                if record["status"] == "converged":
                    record["energies_at_step_hartree"] = {"10": record["energy_initial_hartree"] - 0.001 * (1 + shift)}

    entry = changed(trained, walk)
    means = [pct_curve(run.records)[10] for run in entry.runs]
    assert means == sorted(means)
    (shown,) = content_entries(section(mini, rank_entries(mini, [entry])))
    first, second = shown["pct_curve"]
    assert first == {"step": 0, "value": 0.0, "low": 0.0, "high": 0.0}
    assert second["value"] == pytest.approx(sum(means) / 3)
    assert (second["low"], second["high"]) == pytest.approx((means[0], means[2]))


def test_every_measure_has_a_front_of_ranked_entries(content):
    (track,) = content["tracks"]
    entries = {entry["entry_id"]: entry for entry in track["entries"]}
    assert track["fronts"].keys() == {measure.name for measure in MEASURES}
    for front in track["fronts"].values():
        assert all(entries[name]["rank"] is not None for name in front)
    labels = [entries[name]["labels_in_all"] for name in track["fronts"]["residual_kcal_mol_mean_all"]]
    assert min(labels) == 240  # the baseline: the initial set, nothing besides


# --- Geometries --------------------------------------------------------------------------------------------------


def test_superposition_undoes_rotation_and_translation_and_never_mirrors():
    points = np.random.default_rng(0).normal(size=(7, 3))
    kept = np.array([True] * 5 + [False] * 2)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    assert superposed(points @ turn.T + [1, 2, 3], points, kept) == pytest.approx(points, abs=1e-12)
    mirrored = superposed(points * [1, 1, -1], points, kept)
    assert np.linalg.norm(mirrored - points) > 1.0


def test_the_frame_is_centred_along_the_principal_axes_and_keeps_the_handedness():
    points = np.random.default_rng(0).normal(size=(9, 3)) * [1, 5, 2]
    framed = principal(points, np.ones(9, dtype=bool))
    assert framed.mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-12)
    moments = framed.T @ framed
    assert moments == pytest.approx(np.diag(np.diag(moments)), abs=1e-9)
    assert moments[0, 0] > moments[1, 1] > moments[2, 2]
    volume = np.linalg.det(points[1:4] - points[0])
    assert np.linalg.det(framed[1:4] - framed[0]) == pytest.approx(volume)
    assert principal(np.zeros((1, 3)), np.ones(1, dtype=bool)) == pytest.approx(np.zeros((1, 3)))


def test_coordinates_are_thousandths_of_an_angstrom():
    code = encoded(np.array([[1.2346, -2.0, 0.0]]))
    assert list(np.frombuffer(base64.b64decode(code), "<i2")) == [1235, -2000, 0]
    assert encoded(np.array([[40.0, 0.0, 0.0]])) == [40000, 0, 0]


def test_every_molecule_has_its_geometries_and_its_bonds(shown, published):
    found = geometries(shown)
    aspirin = found["molecules"][0]
    assert aspirin["symbols"][:3] == ["C", "C", "O"]
    assert len(aspirin["bonds"]) == 21  # 21 atoms, one ring
    numbers = shown.dataset.test[0].molecule.numbers
    distances = bonds_by_distance(numbers, shown.dataset.test[0].minimum_positions)
    assert sorted(map(sorted, aspirin["bonds"])) == distances
    ends = unpack(published[0].runs[0].end_points)
    for place, item in enumerate(shown.dataset.test):
        end, bonds = found["ends"][published[0].entry_id][0][place]
        assert len(base64.b64decode(end)) == 6 * len(ends[item.molecule.id])
        assert bonds is None


# --- The text ----------------------------------------------------------------------------------------------------


def test_the_same_entries_give_the_same_bytes(mini, published):
    texts = {page([section(mini, rank_entries(mini, list(order)))], "x") for order in (published, published[::-1])}
    assert len(texts) == 1
    (text,) = texts
    assert text.count("plotly.js v") == 1
    assert len(text) < 6_000_000


def test_only_the_scripts_of_the_page_may_run(mini):
    blocks = Blocks(page([section(mini, [])], "x"))
    policy = dict(part.split(" ", 1) for part in blocks.meta["Content-Security-Policy"].split("; "))
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in blocks.code]
    assert policy["default-src"] == "'none'"
    assert policy["script-src"].split() == [f"'sha256-{one}'" for one in hashes]
    assert len(hashes) == 2
    assert blocks.tags.count("link") == 1  # the empty icon
    assert not {"img", "iframe", "object", "embed", "form", "base"} & set(blocks.tags)


def test_nothing_in_an_entry_ends_its_block(mini, trained, changed):
    def edit(parts):
        parts["credits"] |= {"weights_license": EVIL, "citations": {EVIL: "javascript:alert(1)"}}
        parts["settings"]["delta"] = EVIL
        parts["provenance"]["argv"] = [EVIL]

    harmless = Blocks(page([section(mini, rank_entries(mini, [trained]))], "x"))
    entry = changed(trained, edit)
    blocks = Blocks(page([section(mini, rank_entries(mini, [entry]))], EVIL))
    assert blocks.tags == harmless.tags
    assert blocks.data("content")["tracks"][0]["entries"][0]["credits"]["weights_license"] == EVIL
    assert blocks.data("content")["title"] == EVIL


def test_the_scripts_make_elements_from_text_only():
    assets = files("golfbench.site").joinpath("assets")
    scripts = {item.name: item.read_text(encoding="utf-8") for item in assets.iterdir() if item.name.endswith(".js")}
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|fetch\(|XMLHttp|import\("
    assert len(scripts) == 11
    for name, text in scripts.items():
        assert not re.search(forbidden, text), name
        assert name == "dom.js" or ".href =" not in text, name


# --- The folder --------------------------------------------------------------------------------------------------


def test_the_folder_has_every_file_that_the_page_names(tmp_path):
    site, runner = tmp_path / "site", CliRunner()
    command = ["leaderboard", "build", "--leaderboards", str(LEADERBOARDS), "--check", "--site", str(site)]
    assert runner.invoke(build_app(), command).exit_code == 1  # there is no site yet
    assert not site.exists()
    command.remove("--check")
    done = runner.invoke(build_app(), command)
    assert done.exit_code == 0, done.output
    content = Blocks((site / "index.html").read_text(encoding="utf-8")).data("content")
    assert [track["name"] for track in content["tracks"]] == [track.name for track, _ in all_standings(LEADERBOARDS)]
    assert {track["name"] for track in content["tracks"]} == {path.name for path in track_folders(LEADERBOARDS)}
    for track in content["tracks"]:
        names = ["track.yaml", "leaderboard.csv", *(entry["file"] for entry in track["entries"])]
        for name in names:
            copied = site / track["name"] / name
            assert copied.read_bytes() == (LEADERBOARDS / track["name"] / name).read_bytes()
        assert len(list((site / track["name"]).iterdir())) == len(names)
    assert runner.invoke(build_app(), [*command, "--check"]).exit_code == 0
    refused = runner.invoke(build_app(), [*command[:-1], str(LEADERBOARDS)])
    assert refused.exit_code == 2
    assert "a folder of its own" in refused.output


def test_plotly_is_loaded_only_when_a_page_is_made():
    code = "import sys, golfbench.site.page, golfbench.site.runs, golfbench.cli.main; sys.exit('plotly' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
