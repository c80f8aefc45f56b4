"""The figure of runs, from published records."""

import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from golfbench.benchmark.metrics import SUCCESS_KCAL_MOL
from golfbench.compare.figure import figure
from golfbench.compare.sides import read_side
from golfbench.errors import ConfigurationError, NothingToDoError
from golfbench.runs.directory import RunDirectory
from golfbench.runs.summary import rows_of

RESULTS = Path(__file__).parents[2] / "examples" / "results"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def drawn() -> ET.Element:
    return ET.fromstring(figure([read_side(RESULTS / "aimnet2-64")]))


def texts(root: ET.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def test_it_says_what_it_is_of_and_names_every_curve_with_its_last_number(drawn):
    said = texts(drawn)
    assert "druglike-xtb: energy above the minima of GFN2-xTB" in said
    rows = rows_of(RunDirectory(RESULTS / "aimnet2-64"))
    for selection in ("golf", "random"):
        seeds = [row.residual_kcal_mol_mean_all for row in rows if (row.stage, row.selection) == ("after", selection)]
        assert f"aimnet2, {selection}: {sum(seeds) / len(seeds):.2f}" in said
    (force_field,) = [row for row in rows if row.stage == "reference"]
    assert f"mmff94: {force_field.residual_kcal_mol_mean_all:.2f}" in said
    assert f"{SUCCESS_KCAL_MOL:g} kcal/mol" in said


def test_each_curve_begins_with_the_model_as_it_comes_and_points_have_their_numbers(drawn):
    hints = [element.text for circle in drawn.iter(f"{SVG}circle") for element in circle.iter(f"{SVG}title")]
    labels = [re.match(r"(\d+) labels", hint)[1] for hint in hints]
    assert labels == ["0", "64"] * 2
    assert hints[0] == hints[2]  # the same start
    places = [(float(c.get("cx")), float(c.get("cy"))) for c in drawn.iter(f"{SVG}circle")]
    assert places[0][0] < places[1][0]
    assert places[0][1] < places[1][1]  # further down is a smaller residual


def test_it_needs_nothing_beside_it_and_holds_no_script(drawn):
    assert not [e for e in drawn.iter() if e.tag.removeprefix(SVG) in ("script", "image", "use", "a", "foreignObject")]
    assert not [name for e in drawn.iter() for name in e.attrib if "href" in name or name.startswith("on")]


def test_runs_of_two_datasets_are_refused_and_runs_that_say_no_labels_are_nothing_to_draw(tmp_path):
    with pytest.raises(ConfigurationError, match="druglike-mini, druglike-xtb"):
        figure([read_side(RESULTS / name) for name in ("aimnet2-64", "druglike-mini-seeds")])
    silent = Path(shutil.copytree(RESULTS / "aimnet2-64", tmp_path / "silent"))
    (silent / "costs.jsonl").unlink()
    with pytest.raises(NothingToDoError, match="how many labels"):
        figure([read_side(silent)])


def test_curves_are_named_with_their_base_and_begin_at_the_left_beside_each_other():
    root = ET.fromstring(figure([read_side(RESULTS / "druglike-xtb-on-gfn1")]))
    said = [text for text in texts(root) if ", golf: " in text or ", random: " in text]
    assert len(said) == 8
    assert all(" + gfn1-xtb, " in text for text in said)
    longest = max(map(len, said))
    assert float(root.get("width")) > 530 + 6 * longest  # no name is cut
    places = [float(circle.get("cx")) for circle in root.iter(f"{SVG}circle")]
    firsts, lasts = places[::2], places[1::2]
    assert len(set(firsts)) == len(set(lasts)) == 8
    assert max(firsts) < 100
    assert min(lasts) > 480


def test_a_fixed_model_far_above_all_curves_is_named_and_flattens_nothing():
    root = ET.fromstring(figure([read_side(RESULTS / "druglike-xtb-on-gfn1")]))
    above = [text for text in texts(root) if text.endswith(", above")]
    assert sorted(text.partition(":")[0] for text in above) == ["mmff94", "uff"]
    ticks = [float(text) for text in texts(root) if re.fullmatch(r"\d(\.\d)?", text)]
    assert 1.5 <= max(ticks) <= 5
