"""`longwatch train`: a log in, a bundle out that a run can use, the same for the same events."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import polars as pl
import pytest

from longwatch.model.scorer import Bundle, open_bundle
from longwatch.pipeline.cli import main
from support.demo import HOME, demo_frame

MODEL = "d_model: 16\nnum_heads: 2\nnum_kv_heads: 1\nlayers: [sliding(16)]\nblock_size: 16\nword_buckets: 128\n"
TRAIN = "max_steps: 30\ntokens_per_batch: 2048\nmax_window_tokens: 256\nvalidation_every: 15\ndevice: cpu\n"
SETTINGS = ("windows.max_events=100", "windows.overlap=16", "templates.merge_above=4")


def frame() -> pl.DataFrame:
    """Three hours without their incidents."""
    return demo_frame((9, 12)).filter(pl.col("incident").is_null())


def until_ms() -> int:
    return int(frame()["event_time_ms"].quantile(0.7))


def until() -> str:
    return str(pl.Series([until_ms()]).cast(pl.Datetime("ms"))[0]).replace(" ", "T")


def prepare(folder: Path, lines: Iterable[str]) -> Path:
    """The demo's configuration with a log of its own, and small networks to train."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(HOME / "demo.yaml", folder / "demo.yaml")
    (folder / "demo.log").write_text("".join(f"{line}\n" for line in lines))
    (folder / "model.yaml").write_text(MODEL)
    (folder / "train.yaml").write_text(TRAIN)
    (folder / "excluded.txt").write_text("vpn-01\npay-eu-01\n")
    return folder


def train(folder: Path, *more: str) -> int:
    words = ["train", str(folder / "demo.yaml"), "--out", str(folder / "bundle")]
    words += ["--model-config", str(folder / "model.yaml"), "--train-config", str(folder / "train.yaml")]
    return main([*words, *(word for setting in SETTINGS for word in ("--set", setting)), *more])


@pytest.fixture(scope="module")
def selected(tmp_path_factory) -> Path:
    """Trained on a part of the log, chosen by the command's options."""
    folder = prepare(tmp_path_factory.mktemp("selected"), frame()["line"])
    options = ("--until", until(), "--exclude-entities", str(folder / "excluded.txt"))
    assert train(folder, *options) == 0
    return folder


@pytest.fixture(scope="module")
def bundle(selected) -> Bundle:
    return open_bundle(selected / "bundle")


def test_equal_events_and_seed_give_an_equal_bundle_and_what_was_left_out_leaves_no_trace(bundle, tmp_path):
    """The second log never held the events that the first training was told to leave out."""
    chosen = (pl.col("event_time_ms") < until_ms()) & ~pl.col("entity").is_in(["vpn-01", "pay-eu-01"])
    folder = prepare(tmp_path, frame().filter(chosen)["line"])
    assert train(folder) == 0
    again = open_bundle(folder / "bundle")
    assert again.digest == bundle.digest
    dated = {"created_at": "", "seal": ""}
    assert {**again.manifest, **dated} == {**bundle.manifest, **dated}


def test_templates_of_excluded_entities_are_not_learned(bundle):
    texts = [*bundle.vocabulary.templates, *json.loads(bundle.template_set_json)["templates"].values()]
    services = frame().select("entity", service=pl.col("line").str.extract(r"^\S+ \S+ \S+ ([^: ]+):"))
    left_out = pl.col("entity").is_in(["vpn-01", "pay-eu-01"])
    kept, excluded = (set(services.filter(chosen)["service"]) for chosen in (~left_out, left_out))
    assert any(f" {service} " in text for service in kept for text in texts)
    assert excluded - kept == {"openvpn"}
    assert not any(f" {service} " in text for service in excluded - kept for text in texts)


def test_the_bundle_keeps_its_configuration_and_no_path_of_this_machine(bundle, selected):
    assert set(bundle.config) == {"pipeline", "model", "train"}
    assert bundle.config["pipeline"]["windows"]["max_events"] == 100
    assert bundle.config["model"]["d_model"] == 16
    assert bundle.config["train"]["max_steps"] == 30
    assert str(selected) not in json.dumps([bundle.config, bundle.manifest])


def test_a_bundle_holds_no_pickle(bundle):
    """Pickles begin with 0x80 and a protocol number; torch's own files are zip archives of them."""
    files = list(bundle.path.iterdir())
    assert {path.suffix for path in files} == {".json", ".safetensors", ".onnx"}
    for path in files:
        head = path.read_bytes()[:2]
        assert head[:1] != b"\x80", path
        assert head != b"PK", path


def test_a_run_on_it_scores_every_line_and_alerts_on_lines_never_seen(selected, tmp_path, capsys):
    lines = [*frame()["line"].head(1000), "2026-11-02T09:40:00.000Z ERROR db-01 intruder: opened all the doors at once"]
    folder = prepare(tmp_path, lines)
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    words = ["run", str(folder / "demo.yaml"), "--set", f"bundle={selected / 'bundle'}", *settings]
    assert main([*words, "--set", "thresholds.default={event: {score: 2}}"]) == 0
    assert "records=1001" in capsys.readouterr().err
    alerts = [json.loads(line) for line in (folder / "alerts.jsonl").read_text().splitlines()]
    assert any("intruder" in (top["line"] or "") for alert in alerts for top in alert["top_events"][:1])


def test_a_bundle_is_never_changed(selected, capsys):
    before = (selected / "bundle" / "manifest.json").read_bytes()
    assert train(selected) == 2
    assert "hint: choose another folder with --out" in capsys.readouterr().err
    assert (selected / "bundle" / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("count", [0, 1, 30, 200])
def test_too_few_windows_are_an_error_that_says_what_to_do(count, tmp_path, capsys):
    folder = prepare(tmp_path, frame().filter(pl.col("entity").is_in(["web-01", "web-02"]))["line"].head(count))
    assert train(folder) == 1
    err = capsys.readouterr().err
    assert f"windows in {count} records" in err
    assert "hint: read a longer time, or make windows.max_events smaller" in err
    assert "unexpected" not in err
    assert not (folder / "bundle").exists()


@pytest.mark.parametrize(
    ("name", "text", "said"), [("model", "d_modle: 16\n", "d_model"), ("train", "seed: x\n", "seed")]
)
def test_a_wrong_model_or_training_file_is_an_error_that_names_file_and_key(name, text, said, tmp_path, capsys):
    folder = prepare(tmp_path, frame()["line"].head(3000))
    (folder / f"{name}.yaml").write_text(text)
    assert train(folder) == 2
    err = capsys.readouterr().err
    assert f"{name}.yaml" in err
    assert said in err
    assert "unexpected" not in err
