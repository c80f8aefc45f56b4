"""What a run says of itself is read as it was written, by this version of the suite and by those before it."""

import json
from pathlib import Path

import pytest

from golfbench.errors import ConfigurationError, NothingToDoError
from golfbench.runs.manifest import Common, Manifest, Place, read_document
from golfbench.runs.provenance import code_of, libraries_of

RESULTS = sorted((Path(__file__).parents[2] / "examples").glob("**/manifest.json"))
assert RESULTS


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.parent.name)
def test_published_manifests_are_read_and_written_back(path, tmp_path):
    manifest = Manifest.read(path)
    manifest.write(tmp_path / "manifest.json")
    written, before = json.loads((tmp_path / "manifest.json").read_text()), json.loads(path.read_text())
    if before["dataset"].get("sampled_labels", 0) is None:  # some of them say so, most leave it out
        del before["dataset"]["sampled_labels"]
    assert written == {"unjudged": {}} | before
    assert [name for name in written if name in before] == list(before)  # in the same order
    assert Manifest.read(tmp_path / "manifest.json") == manifest


def test_what_a_manifest_says_has_names(tmp_path):
    manifest = Manifest.read(next(path for path in RESULTS if path.parent.name == "druglike-mini-seeds"))
    assert (manifest.dataset.name, manifest.dataset.initial_labels) == ("druglike-mini", 240)
    assert manifest.source is not None
    assert manifest.source.changed is False
    assert manifest.merged is not None
    assert [shard.index for shard in manifest.merged.shards] == list(range(1, len(manifest.merged.shards) + 1))
    assert manifest.shard is manifest.files is None
    assert {origin.model for origin in manifest.baselines.values()} == {"painn"}
    assert code_of(manifest)["commit"] == manifest.source.commit
    assert libraries_of(manifest)["processor"] == manifest.hardware.cpu


def test_a_shard_says_which_it_is_and_what_is_absent_is_not_written(tmp_path):
    manifest = Manifest.read(RESULTS[0]).model_copy(update={"shard": Place(index=2, count=3), "merged": None})
    manifest.write(tmp_path / "manifest.json")
    content = json.loads((tmp_path / "manifest.json").read_text())
    assert content["shard"] == {"index": 2, "count": 3}
    assert not content.keys() & {"merged", "common", "files"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema_version": 7}, "schema_version: Input should be 1"),
        ({"dataset": {"name": "x"}}, "dataset.method: Field required"),
        ({"hardware": {"cpu": "x", "cores": "many", "memory_gib": 1.0}}, "hardware.cores: Input should be a valid int"),
    ],
)
def test_a_damaged_manifest_is_refused_with_the_field(change, reason, tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps(json.loads(RESULTS[0].read_text()) | change))
    with pytest.raises(ConfigurationError, match=reason):
        Manifest.read(tmp_path / "manifest.json")


def test_no_manifest_is_no_run(tmp_path):
    with pytest.raises(NothingToDoError, match="is not a run: it has no manifest"):
        read_document(Common, tmp_path / "manifest.json")
