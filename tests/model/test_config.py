import json
from pathlib import Path

import pytest

from longwatch.model.config import ModelConfig, TrainConfig, load_model_config, load_train_config

CONFIGS = Path(__file__).parents[2] / "configs"


def test_unknown_key_names_file_and_nearest_key():
    with pytest.raises(ValueError, match=r"a\.yaml: unknown key 'd_modle'; did you mean 'd_model'\?"):
        ModelConfig.from_dict({"d_modle": 8}, "a.yaml")


def test_unknown_key_with_no_near_one_lists_the_known():
    with pytest.raises(ValueError, match=r"unknown key 'zzzzzz'; known keys: seed, max_steps"):
        TrainConfig.from_dict({"zzzzzz": 8})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("d_model", "64"),
        ("d_model", 64.5),
        ("d_model", True),
        ("d_model", 12),
        ("num_kv_heads", 3),
        ("layers", "sliding(8)"),
        ("layers", []),
        ("dropout", 1.0),
        ("gap_buckets", 1),
        ("block_size", 0),
    ],
)
def test_wrong_value_is_refused_by_name(key, value):
    with pytest.raises(ValueError, match=f"model config: {key}: expected"):
        ModelConfig.from_dict({key: value})


def test_wrong_pattern_is_refused_by_column():
    with pytest.raises(ValueError, match=r"sidling.*did you mean 'sliding'"):
        ModelConfig.from_dict({"layers": ["sidling(8)"]})


@pytest.mark.parametrize("config", [ModelConfig(layers=("dense", "sliding(3)")), TrainConfig(seed=7, warmup=0.5)])
def test_config_survives_json(config):
    assert type(config).from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_whole_numbers_are_taken_for_fractions():
    assert ModelConfig.from_dict({"ffn_multiple": 3}).ffn_width == 3 * 64


def test_receptive_field_is_the_sum_of_spans_or_unlimited():
    assert ModelConfig(layers=("sliding(10)", "sliding(5)")).receptive_field == 14
    assert ModelConfig(layers=("sliding(10)", "dense")).receptive_field is None


@pytest.mark.parametrize("path", sorted((CONFIGS / "model").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_model_config_loads(path):
    assert load_model_config(path).head_dim in (16, 32)


@pytest.mark.parametrize("path", sorted((CONFIGS / "train").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_train_config_loads(path):
    assert load_train_config(path).device == ("cuda" if path.stem == "gpu" else "cpu")


def test_a_file_that_holds_no_keys_is_refused(tmp_path):
    (tmp_path / "x.yaml").write_text("- 1\n")
    with pytest.raises(ValueError, match=r"x\.yaml: expected `key: value` lines, found list"):
        load_model_config(tmp_path / "x.yaml")
