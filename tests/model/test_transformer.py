import numpy as np
import pytest
import torch

from longwatch.model.config import ModelConfig
from longwatch.model.export import random_inputs
from longwatch.model.transformer import EventTransformer, Rotary, load_transformer, rotate

CLASSES = 12
SLIDING = ModelConfig(
    d_model=32, num_heads=4, num_kv_heads=2, layers=("sliding(9)", "sliding(20)"), block_size=8, word_buckets=64
)
HYBRID = ModelConfig(
    d_model=32,
    num_heads=4,
    num_kv_heads=2,
    layers=("sliding(9) | global(3)", "strided(16, width=2)", "dense"),
    block_size=8,
    word_buckets=64,
)
CONFIGS = pytest.mark.parametrize("config", [SLIDING, HYBRID], ids=["sliding", "hybrid"])


def make_model(config: ModelConfig, seed: int = 0) -> EventTransformer:
    torch.manual_seed(seed)
    words = np.random.default_rng(seed).integers(0, config.word_buckets, (CLASSES, config.max_words))
    return EventTransformer(config, torch.from_numpy(words)).eval().requires_grad_(False)


def make_inputs(config: ModelConfig, rows: int = 3, blocks: int = 6, seed: int = 0) -> dict[str, torch.Tensor]:
    inputs = random_inputs(config, CLASSES, (rows, blocks, 10), seed)
    return {name: torch.from_numpy(array) for name, array in vars(inputs).items()}


@CONFIGS
def test_probabilities_of_all_classes_sum_to_1(config):
    inputs = make_inputs(config, rows=1)
    model = make_model(config)
    each = [model(**{**inputs, "target": torch.full_like(inputs["target"], c)}) for c in range(CLASSES)]
    assert torch.allclose(torch.stack(each).neg().exp().sum(0), torch.ones(1, 48), atol=1e-5)


@CONFIGS
def test_surprise_depends_on_no_later_token(config):
    model, inputs = make_model(config), make_inputs(config)
    changed = {**inputs}
    for name in ("token", "gap", "shape", "target"):
        changed[name] = inputs[name].clone()
        changed[name][:, 30:] = inputs[name][:, 30:].flip(0, 1)
    before, after = model(**inputs), model(**changed)
    assert torch.allclose(before[:, :30], after[:, :30], atol=1e-6)
    assert not torch.allclose(before[:, 31:], after[:, 31:], atol=1e-3)


@CONFIGS
def test_surprise_does_not_depend_on_its_own_token_gap_or_shape(config):
    model, inputs = make_model(config), make_inputs(config)
    changed = {**inputs}
    for name in ("token", "gap", "shape"):
        changed[name] = inputs[name].clone()
        changed[name][:, 30] = (inputs[name][:, 30] + 1) % 10
    assert torch.allclose(model(**inputs)[:, :31], model(**changed)[:, :31], atol=1e-6)


@CONFIGS
def test_surprise_does_not_depend_on_padding_or_on_other_rows(config):
    model, inputs = make_model(config), make_inputs(config)
    alone = {name: tensor[1:2, :24] if name[:3] != "lex" else tensor for name, tensor in inputs.items()}
    assert torch.allclose(model(**inputs)[1, :24], model(**alone)[0], atol=1e-5)


def test_surprise_depends_on_the_receptive_field_and_no_further():
    assert SLIDING.receptive_field == 28
    model, inputs = make_model(SLIDING), make_inputs(SLIDING)
    for position, reaches in ((40 - 28, True), (40 - 29, False)):
        changed = {**inputs, "token": inputs["token"].clone()}
        changed["token"][:, position] = (inputs["token"][:, position] + 1) % 10
        difference = (model(**inputs) - model(**changed)).abs()[:, 40].max().item()
        assert (difference > 1e-7) == reaches


def test_unseen_templates_differ_by_their_words_and_by_nothing_else():
    model, inputs = make_model(SLIDING), make_inputs(SLIDING)
    inputs["lexicon_known"][:] = 0
    inputs["lexicon_words"][1] = inputs["lexicon_words"][0]
    events = model.compose(inputs["lexicon_words"], inputs["lexicon_known"])
    assert torch.equal(events[0], events[1])
    assert not torch.allclose(events[0], events[2])


def test_a_template_without_words_is_a_number():
    model = make_model(SLIDING)
    nothing = torch.zeros(1, SLIDING.max_words, dtype=torch.int64)
    assert torch.equal(model.compose(nothing, torch.tensor([0])), torch.zeros(1, 32))


def test_known_templates_are_read_and_predicted_by_one_embedding():
    model = make_model(SLIDING)
    classes = torch.arange(1, CLASSES)
    assert torch.equal(model.output_table()[1:], model.compose(model.known_words[1:], classes))


def test_dropout_works_in_training_only():
    model, inputs = make_model(SLIDING), make_inputs(SLIDING)
    assert torch.equal(model(**inputs), model(**inputs))
    model.train()
    assert not torch.equal(model(**inputs), model(**inputs))


def test_equal_seeds_give_equal_weights():
    weights = [make_model(SLIDING, seed).state_dict() for seed in (3, 3, 4)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[0]["start"], weights[2]["start"])


def test_weights_of_another_shape_are_refused():
    weights = {name: tensor.numpy() for name, tensor in make_model(SLIDING).state_dict().items()}
    with pytest.raises(RuntimeError, match="size mismatch for residual"):
        load_transformer(SLIDING, np.zeros((CLASSES + 1, SLIDING.max_words), np.int64), weights)


def test_rotary_angles_are_exact_far_from_the_start():
    cos, sin = Rotary(16, 10_000.0)(200_000)
    angle = 199_999 * 10_000.0 ** (-np.arange(0, 16, 2) / 16)
    assert np.abs(cos[-1].numpy() - np.cos(angle)).max() < 5e-7
    assert np.abs(sin[-1].numpy() - np.sin(angle)).max() < 5e-7


def test_rotated_products_depend_on_distance_alone():
    cos, sin = Rotary(16, 10_000.0)(70_000)
    query, key = torch.randn(1, 1, 1, 16), torch.randn(1, 1, 1, 16)

    def product(query_pos: int, key_pos: int) -> float:
        turned = [rotate(x, (cos[at : at + 1], sin[at : at + 1])) for x, at in ((query, query_pos), (key, key_pos))]
        return float((turned[0] * turned[1]).sum())

    assert product(69_000, 68_990) == pytest.approx(product(10, 0), abs=1e-5)


@CONFIGS
def test_every_weight_gets_a_gradient(config):
    model = make_model(config).requires_grad_(True)
    model(**make_inputs(config)).mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
