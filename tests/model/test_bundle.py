import dataclasses
import json
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from longwatch.model.bundle import (
    CONFIG,
    GRAPH,
    MANIFEST,
    REQUIRED,
    WEIGHTS,
    Bundle,
    BundleError,
    open_bundle,
    write_bundle,
)
from longwatch.model.bundle_files import sealed
from longwatch.model.train import TrainedModel
from support.bundles import make_branching_graph, make_parts, train_tiny


@pytest.fixture(scope="module")
def trained() -> TrainedModel:
    return train_tiny()


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    """A copy of the bundle that a test may harm."""
    return Path(shutil.copytree(bundle.path, tmp_path / "copy"))


def edit_manifest(folder: Path, **values: object) -> None:
    """As someone would who knows how a manifest is sealed."""
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_bytes(sealed(manifest | values))


def file_table(folder: Path) -> dict[str, dict[str, object]]:
    return json.loads((folder / MANIFEST).read_text())["files"]


def test_parts_come_back_as_they_were(bundle):
    assert bundle.config["model"] == bundle.model_config.to_dict()
    assert bundle.template_set_json == "{}\n"
    assert bundle.vocabulary.num_classes == 18
    assert bundle.arrays(WEIGHTS)["start"].dtype == np.float32
    assert bundle.evidence.to_arrays().keys()
    assert bundle.calibration.expected_per_day("event", 1e9) >= 0
    assert bundle.manifest["created_at"] == "2026-01-01T00:00:00Z"


def test_digest_is_of_the_content_not_of_the_time_or_place(trained, bundle, tmp_path):
    parts = make_parts(trained, bundle.read(GRAPH))
    again = write_bundle(tmp_path / "deep" / "again", parts, "2027-01-01T00:00:00Z")
    assert again.digest == bundle.digest
    assert len(again.digest) == 64


def test_nothing_is_written_over(trained, bundle):
    parts = make_parts(trained, b"")
    with pytest.raises(BundleError, match="expected nothing there yet"):
        write_bundle(bundle.path, parts, "now")


def test_a_failed_write_leaves_nothing(trained, tmp_path):
    parts = dataclasses.replace(make_parts(trained, b""), config={"rate": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_bundle(tmp_path / "b", parts, "now")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_file_is_refused_by_name(copy, name):
    (copy / name).unlink()
    with pytest.raises(BundleError, match=rf"{name}: cannot be read \(No such file"):
        open_bundle(copy)


@pytest.mark.parametrize("name", REQUIRED)
def test_a_truncated_file_is_refused_by_name(copy, name):
    (copy / name).write_bytes((copy / name).read_bytes()[:-1])
    with pytest.raises(BundleError, match=rf"{name}: .* the manifest says .* copy the bundle again"):
        open_bundle(copy)


@pytest.mark.parametrize("name", REQUIRED)
def test_one_changed_byte_is_refused(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(BundleError, match="the file is not the one that was written"):
        open_bundle(copy)


def test_a_longer_file_is_refused(copy):
    with (copy / CONFIG).open("ab") as file:
        file.write(b" ")
    with pytest.raises(BundleError, match=r"config\.json: longer than expected"):
        open_bundle(copy)


@pytest.mark.parametrize("name", ["../x", "/etc/hosts", "a/b", "..", ".", "", "a\\b", "a\0b"])
def test_a_name_that_leaves_the_folder_is_refused(copy, name):
    edit_manifest(copy, files={**file_table(copy), name: {"sha256": "0" * 64, "bytes": 1}})
    with pytest.raises(BundleError, match="leaves the bundle's folder; do not use this bundle"):
        open_bundle(copy)


def test_a_manifest_that_leaves_a_file_out_is_refused(copy):
    table = file_table(copy)
    del table[WEIGHTS]
    edit_manifest(copy, files=table)
    with pytest.raises(BundleError, match=r"does not name weights\.safetensors"):
        open_bundle(copy)


@pytest.mark.parametrize("version", [0, 1, 3, None, "2"])
def test_an_unknown_format_is_refused(copy, version):
    edit_manifest(copy, format=version)
    with pytest.raises(BundleError, match=rf"bundle format {version!r}, expected 2"):
        open_bundle(copy)


def test_a_manifest_with_another_digest_is_refused(copy):
    edit_manifest(copy, digest="0" * 64)
    with pytest.raises(BundleError, match="the manifest was changed"):
        open_bundle(copy)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[]", b'{"format": 2}', b'{"format": 2, "files": {"a": 1}}'])
def test_a_manifest_that_is_none_is_refused(copy, content):
    (copy / MANIFEST).write_bytes(content)
    with pytest.raises(BundleError, match=r"manifest\.json: expected"):
        open_bundle(copy)


def test_no_bundle_at_all_is_an_error_that_names_the_path(tmp_path):
    with pytest.raises(BundleError, match=r"nowhere/manifest\.json: cannot be read"):
        open_bundle(tmp_path / "nowhere")


def test_a_graph_with_external_data_is_refused(copy):
    graph = make_branching_graph(location=1).SerializeToString()
    (copy / GRAPH).write_bytes(graph)
    edit_manifest(copy, files={**file_table(copy), GRAPH: {"sha256": sha256(graph).hexdigest(), "bytes": len(graph)}})
    with pytest.raises(BundleError, match=r"model\.onnx: keeps weights in other files"):
        open_bundle(copy)


def test_a_graph_with_external_data_is_never_written(trained, tmp_path):
    parts = make_parts(trained, make_branching_graph(location=1).SerializeToString())
    with pytest.raises(BundleError, match="keeps weights in other files"):
        write_bundle(tmp_path / "b", parts, "now")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_changes_after_opening_is_not_read(copy):
    opened = open_bundle(copy)
    (copy / WEIGHTS).write_bytes(b"\0" * (copy / WEIGHTS).stat().st_size)
    with pytest.raises(BundleError, match=r"weights\.safetensors: .* the file is not the one"):
        opened.arrays(WEIGHTS)
