"""`longwatch export`: the network of a bundle as one ONNX file, written at once or not at all."""

import dataclasses
from pathlib import Path

import onnx
import pytest

from longwatch.model.bundle import GRAPH, STEP_GRAPH, WEIGHTS, Bundle, open_bundle, write_bundle
from longwatch.model.config import ModelConfig
from longwatch.pipeline.cli import main
from support.bundles import QUICK, make_branching_graph, make_parts, train_tiny

SMALL = ModelConfig(
    d_model=16, num_heads=2, num_kv_heads=1, layers=("sliding(8)",), block_size=8, word_buckets=64, max_words=8
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    """A bundle whose graph is not its network's: what is exported can only come from the weights."""
    parts = make_parts(
        train_tiny(SMALL, dataclasses.replace(QUICK, max_steps=2)), make_branching_graph(0).SerializeToString()
    )
    return write_bundle(tmp_path_factory.mktemp("bundles") / "small", parts, "2026-01-01T00:00:00Z")


def test_the_graph_is_made_from_the_weights_and_its_difference_from_torch_is_said(bundle, tmp_path, capsys):
    assert main(["export", str(bundle.path), "--out", str(tmp_path / "model.onnx")]) == 0
    out = capsys.readouterr().out
    content = (tmp_path / "model.onnx").read_bytes()
    proto = onnx.load_from_string(content)
    assert [output.name for output in proto.graph.output] == ["surprise"]
    assert out.startswith(f"{tmp_path / 'model.onnx'}: {len(content):,} bytes, at most ")
    assert float(out.split("at most ")[1].split(" nats")[0]) < 1e-4
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_a_folder_becomes_a_bundle_with_both_graphs_and_the_report_of_their_parity(bundle, tmp_path, capsys):
    assert main(["export", str(bundle.path), "--out", str(tmp_path / "deployable")]) == 0
    out = capsys.readouterr().out
    written = open_bundle(tmp_path / "deployable")
    assert {GRAPH, STEP_GRAPH} == written.manifest["parity"]["graphs"].keys()
    assert written.read(WEIGHTS) == bundle.read(WEIGHTS)
    assert written.read(GRAPH) != bundle.read(GRAPH)
    assert f"digest {written.digest[:16]}" in out
    assert "step.onnx: at most " in out


def test_a_file_that_is_there_is_never_overwritten(bundle, tmp_path, capsys):
    (tmp_path / "model.onnx").write_text("mine")
    assert main(["export", str(bundle.path), "--out", str(tmp_path / "model.onnx")]) == 2
    assert "hint: choose another name with --out" in capsys.readouterr().err
    assert (tmp_path / "model.onnx").read_text() == "mine"


def test_what_is_no_bundle_is_an_error_and_nothing_is_written(tmp_path: Path, capsys):
    assert main(["export", str(tmp_path / "nowhere"), "--out", str(tmp_path / "model.onnx")]) == 1
    assert "nowhere" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
