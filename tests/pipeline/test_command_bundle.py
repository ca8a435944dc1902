"""`longwatch bundle`: what a bundle is, whether it is whole, in what it differs from another; on the shipped one."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from longwatch.model.bundle import open_bundle, write_bundle
from longwatch.model.deploy.package import parts_of
from longwatch.pipeline.cli import main
from support.demo import HOME

DEMO = HOME / "bundle"


def test_inspect_names_digest_network_and_files(capsys):
    assert main(["bundle", "inspect", str(DEMO)]) == 0
    out = capsys.readouterr().out
    assert open_bundle(DEMO).digest in out
    assert "layers sliding(64), sliding(64)" in out
    assert "parity: not judged" in out


def test_inspect_as_json_is_one_object(capsys):
    assert main(["bundle", "inspect", str(DEMO), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["receptive_field"] == 127
    assert found["files"]["model.onnx"] == (DEMO / "model.onnx").stat().st_size


def test_a_whole_bundle_is_verified_by_scoring_with_it(capsys):
    assert main(["bundle", "verify", str(DEMO)]) == 0
    assert "whole, digest" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["model.onnx", "templates.json", "calibration.safetensors"])
def test_a_harmed_bundle_is_not_verified(tmp_path: Path, capsys, name):
    copy = Path(shutil.copytree(DEMO, tmp_path / "copy"))
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    assert main(["bundle", "verify", str(copy)]) == 1
    assert name in capsys.readouterr().err


def test_a_bundle_does_not_differ_from_its_copy(tmp_path: Path, capsys):
    copy = shutil.copytree(DEMO, tmp_path / "copy")
    assert main(["bundle", "diff", str(DEMO), str(copy)]) == 0
    assert capsys.readouterr().out.startswith("the same: digest")


def test_what_differs_is_said_by_file_key_and_weight(tmp_path: Path, capsys):
    opened = open_bundle(DEMO)
    weights = {**opened.arrays("weights.safetensors")}
    weights["bias"] = weights["bias"] + 1
    config = {**opened.config, "train": {**opened.config["train"], "seed": 99}}
    write_bundle(tmp_path / "other", replace(parts_of(opened), weights=weights, config=config), "now")
    assert main(["bundle", "diff", str(DEMO), str(tmp_path / "other"), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["files"] == ["config.json", "weights.safetensors"]
    assert found["config"] == {"train.seed": [opened.config["train"]["seed"], 99]}
    assert found["weights"]["bias"] == pytest.approx(1, abs=1e-5)
    assert found["weights"].keys() == {"bias"}
