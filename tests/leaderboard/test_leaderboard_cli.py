"""``golfbench leaderboard`` from end to end, with the real oracle."""

import json
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from golfbench.cli.main import build_app
from golfbench.leaderboard.build import BEGIN, END
from golfbench.leaderboard.entries import Entry, canonical_text, read_entry, sealed
from golfbench.runs.directory import RunDirectory

PROBE = """
import json, sys
from golfbench.cli.main import main
try:
    main()
finally:
    sys.stderr.write("\\nLOADED " + json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


@pytest.fixture
def golfbench():
    app, runner = build_app(), CliRunner()
    return lambda *arguments: runner.invoke(app, ["leaderboard", *map(str, arguments)])


@pytest.fixture
def published(golfbench, leaderboards, finished_run):
    """The folder of leaderboards with the entries of the run."""
    done = golfbench("add", finished_run.path, "--leaderboards", leaderboards, "--submitter", "A. Person")
    assert done.exit_code == 0, done.output
    return leaderboards


def files_of(folder):
    return sorted((folder / "tiny").glob("*.json"))


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_help_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", PROBE, "leaderboard", "--help"], capture_output=True, text=True)
    assert not set(json.loads(done.stderr.partition("LOADED ")[2])) & {"torch", "rdkit", "ase", "numpy"}
    assert all(f"  {verb}  " in done.stdout for verb in ("add", "check", "verify", "build"))


def test_entries_are_added_checked_and_verified(golfbench, published):
    files = files_of(published)
    assert len(files) == 3
    assert {read_entry(path).credits.submitter for path in files} == {"A. Person"}
    checked = golfbench("check", *files, "--json")
    assert checked.exit_code == 0
    assert json.loads(checked.stdout)["problems"] == {str(path): [] for path in files}
    verified = golfbench("verify", *files, "--sample", "2", "--json")
    assert verified.exit_code == 0, verified.output
    for document in json.loads(verified.stdout)["entries"]:
        kinds = [answer["what"] for answer in document["answers"]]
        assert kinds.count("end point") == 2
        assert 1 <= kinds.count("reference minimum") <= 2
        assert document["agrees"] is True
        for answer in document["answers"]:
            assert answer["answer_hartree"] == pytest.approx(answer["published_hartree"], abs=1e-6)


def test_the_seed_chooses_the_sample(golfbench, published):
    file = files_of(published)[-1]
    asked = [
        [(a["molecule"], a["seed"]) for a in json.loads(done.stdout)["entries"][0]["answers"]]
        for done in (golfbench("verify", file, "--sample", "3", "--seed", seed, "--json") for seed in (1, 1, 2))
    ]
    assert asked[0] == asked[1] != asked[2]


def test_an_entry_is_replaced_only_when_asked(golfbench, published, finished_run):
    again = golfbench("add", finished_run.path, "--leaderboards", published)
    assert again.exit_code == 4
    assert again.output.count("exists already and is kept") == 3
    newest = files_of(published)[-1]
    newest.unlink()
    done = golfbench("add", finished_run.path, "--leaderboards", published, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["entries"] == [str(newest)]
    replaced = golfbench(
        "add", finished_run.path, "--leaderboards", published, "--track", "tiny", "--overwrite", "--json"
    )
    assert replaced.exit_code == 0
    assert json.loads(replaced.stdout)["entries"] == list(map(str, files_of(published)))


def test_a_rerun_of_some_seeds_makes_no_second_entry(golfbench, published, finished_run, tmp_path):
    rerun = RunDirectory(shutil.copytree(finished_run.path, tmp_path / "rerun"))
    lines = rerun.records.read_text().splitlines(keepends=True)
    one = [line for line in lines if (json.loads(line)["stage"], json.loads(line)["seed"]) == ("after", 1)]
    rerun.records.write_text("".join(one))
    before = {path: path.read_bytes() for path in files_of(published)}
    kept = golfbench("add", rerun.path, "--leaderboards", published)
    assert kept.exit_code == 4
    assert "the same combination with other seeds, exists already and is kept" in " ".join(kept.output.split())
    assert {path: path.read_bytes() for path in files_of(published)} == before
    assert golfbench("add", rerun.path, "--leaderboards", published, "--overwrite").exit_code == 0
    after = files_of(published)
    assert len(after) == len(before)
    assert [run.seed for run in read_entry(next(path for path in after if path not in before)).runs] == [1]
    assert golfbench("build", "--leaderboards", published).exit_code == 0


def test_what_is_wrong_with_a_file_is_said_and_the_others_are_checked(golfbench, published):
    first, second, third = files_of(published)
    second.write_text(second.read_text().replace('"n_steps":', '"n_steps":1', 1))
    renamed = third.rename(third.with_name("winner.json"))
    done = golfbench("check", first, second, renamed, "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)["problems"]
    assert found[str(first)] == []
    assert any("hash of 'runs'" in line for line in found[str(second)])
    assert found[str(renamed)] == [f"the file of entry '{third.stem}' has another name"]
    assert golfbench("verify", second).exit_code == 1
    assert golfbench("build", "--leaderboards", published).exit_code == 2


def test_a_forged_energy_is_refused_by_the_oracle(golfbench, published):
    """The reference: one record for each molecule, its energies lowered by less than any check can see."""
    path = next(path for path in files_of(published) if "reference" in path.name)
    parts = read_entry(path).model_dump(mode="json")
    for record in parts["runs"][0]["records"]:
        record["energy_final_hartree"] -= 2e-6
        curve = record["energies_at_step_hartree"]
        curve |= {step: record["energy_final_hartree"] for step in curve if 2 * int(step) >= record["n_steps"]}
    forged = Entry.model_validate(parts)
    from golfbench.benchmark.metrics import summary

    run = forged.runs[0].model_copy(update={"summary": summary(forged.runs[0].records)})
    path.write_text(canonical_text(sealed(forged.model_copy(update={"runs": (run,)}))))
    assert golfbench("check", path).exit_code == 0
    done = golfbench("verify", path, "--sample", "1")
    assert done.exit_code == 1
    assert "the oracle (xtb" in done.output
    assert "differs: 2.0e-06" in done.output


def test_verification_runs_nothing_that_the_entry_names(golfbench, published):
    """A model that does not exist here is no obstacle, because it is never looked up."""
    path = next(path for path in files_of(published) if "reference" in path.name)
    text = path.read_text().replace('"mmff94', '"somebodys-own').replace("mmff94|", "somebodys-own|")
    path.unlink()
    entry = sealed(Entry.model_validate_json(text))
    path = path.with_name(f"{entry.entry_id}.json")
    path.write_text(canonical_text(entry))
    assert golfbench("verify", path, "--sample", "1").exit_code == 0


def test_build_gives_the_same_bytes_and_sees_drift(golfbench, published, tmp_path):
    assert golfbench("build", "--leaderboards", published, "--check").exit_code == 1
    assert golfbench("build", "--leaderboards", published).exit_code == 0
    made = contents(published)
    assert {path.name for path in made} >= {"README.md", "leaderboard.csv", "schema.json"}
    assert golfbench("build", "--leaderboards", published, "--check").exit_code == 0
    assert golfbench("build", "--leaderboards", published).exit_code == 0
    assert contents(published) == made
    elsewhere = shutil.copytree(published, tmp_path / "elsewhere")
    for name in ("tiny/README.md", "tiny/leaderboard.csv", "README.md", "schema.json"):
        (elsewhere / name).unlink()
    assert golfbench("build", "--leaderboards", elsewhere).exit_code == 0
    assert contents(elsewhere) == made


def test_a_table_changed_by_hand_is_drift_and_words_around_it_stay(golfbench, published):
    golfbench("build", "--leaderboards", published)
    page = published / "tiny" / "README.md"
    made = page.read_text()
    assert made.count(BEGIN) == made.count(END) == 1
    page.write_text(made.replace("| 1 |", "| 0 |", 1))
    done = golfbench("build", "--leaderboards", published, "--check")
    assert done.exit_code == 1
    assert "README.md is not what `leaderboard build` writes" in done.output
    page.write_text("# Mine\n\n" + made + "\nAnd more.\n")
    assert golfbench("build", "--leaderboards", published).exit_code == 0
    assert page.read_text() == "# Mine\n\n" + made + "\nAnd more.\n"


def test_a_folder_without_tracks_is_said(golfbench, tmp_path, finished_run):
    for command in (("build",), ("add", finished_run.path)):
        done = golfbench(*command, "--leaderboards", tmp_path)
        assert done.exit_code == 2
        assert "holds no track" in done.output
