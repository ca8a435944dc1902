"""What a model is and how it is trained: two frozen dataclasses, read strictly from YAML or JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from longwatch.kernels import parse_pattern, receptive_field

MAX_SIZE = 1 << 20  # of any one dimension: a bundle must not ask for memory that no network needs

Config = TypeVar("Config", "ModelConfig", "TrainConfig")


@dataclass(frozen=True)
class ModelConfig:
    """Shape of an EventTransformer; `layers` holds one attention pattern for each layer."""

    d_model: int = 64
    num_heads: int = 4
    num_kv_heads: int = 2
    layers: tuple[str, ...] = ("sliding(64)", "sliding(64)")
    ffn_multiple: float = 2.0
    dropout: float = 0.1
    block_size: int = 64
    gap_buckets: int = 34  # -1, 0 ms, then one for each power of two up to 24 days
    shape_buckets: int = 16
    word_buckets: int = 4096
    max_words: int = 16
    rope_base: float = 10_000.0
    head_width: int = 0  # numbers in one head; 0 for d_model / num_heads: only where heads were pruned is it another

    def __post_init__(self) -> None:
        for name in ("d_model", "num_heads", "num_kv_heads", "ffn_multiple", "block_size", "max_words", "rope_base"):
            _require(getattr(self, name) > 0, name, "above 0", getattr(self, name))
        for name in ("d_model", "num_heads", "block_size", "gap_buckets", "shape_buckets", "word_buckets", "max_words"):
            _require(getattr(self, name) <= MAX_SIZE, name, f"at most {MAX_SIZE:,}", getattr(self, name))
        for name in ("gap_buckets", "shape_buckets", "word_buckets"):
            _require(getattr(self, name) >= 2, name, "2 or more", getattr(self, name))
        _require(0 <= self.dropout < 1, "dropout", "at least 0 and below 1", self.dropout)
        _require(len(self.layers) > 0, "layers", "one pattern or more", self.layers)
        _require(0 <= self.head_width <= MAX_SIZE, "head_width", f"from 0 to {MAX_SIZE:,}", self.head_width)
        _require(self.head_width % 2 == 0, "head_width", "an even number", self.head_width)
        if not self.head_width:
            _require(self.d_model % (2 * self.num_heads) == 0, "d_model", "a multiple of 2 * num_heads", self.d_model)
        _require(self.num_heads % self.num_kv_heads == 0, "num_kv_heads", "a divisor of num_heads", self.num_kv_heads)

        for text in self.layers:
            parse_pattern(text)

    @property
    def receptive_field(self) -> int | None:
        """How many tokens before it the score of a token can depend on; None for all of its window."""
        return receptive_field([parse_pattern(text) for text in self.layers])

    @property
    def head_dim(self) -> int:
        """Numbers in one attention head."""
        return self.head_width or self.d_model // self.num_heads

    @property
    def ffn_width(self) -> int:
        """Hidden numbers of the feed-forward layers, rounded up to a multiple of 8."""
        return -int(-self.ffn_multiple * self.d_model // 8) * 8

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "model config") -> "ModelConfig":
        """Config from plain values; raises ValueError that names `where` and the nearest key for an unknown one."""
        return _from_dict(cls, values, where)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that `from_dict` takes back, JSON-able."""
        return asdict(self) | {"layers": list(self.layers)}


@dataclass(frozen=True)
class TrainConfig:
    """How a model is fitted; training ends at the first of `max_steps`, `max_epochs` and `patience`."""

    seed: int = 0
    max_steps: int = 1000
    max_epochs: int = 30
    tokens_per_batch: int = 8192
    max_window_tokens: int = 4096  # longer windows are cut into crops
    learning_rate: float = 2e-3
    warmup: float = 0.05  # share of the steps
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    validation_every: int = 50  # steps
    patience: int = 5  # validations in a row without a gain
    device: str = "auto"
    unseen_rate: float = 0.05  # share of tokens read by their words alone
    split: str = "interleaved"  # or time: the newest windows calibrate
    early_stop_share: float = 0.1  # of the windows
    calibration_share: float = 0.2

    def __post_init__(self) -> None:
        for name in ("max_steps", "max_epochs", "tokens_per_batch", "max_window_tokens", "learning_rate", "clip_norm"):
            _require(getattr(self, name) > 0, name, "above 0", getattr(self, name))
        for name in ("validation_every", "patience"):
            _require(getattr(self, name) > 0, name, "above 0", getattr(self, name))
        _require(0 <= self.warmup < 1, "warmup", "at least 0 and below 1", self.warmup)
        _require(0 <= self.unseen_rate < 1, "unseen_rate", "at least 0 and below 1", self.unseen_rate)
        for name in ("early_stop_share", "calibration_share"):
            _require(0 < getattr(self, name) < 0.5, name, "above 0 and below 0.5", getattr(self, name))
        _require(self.split in ("interleaved", "time"), "split", "interleaved or time", self.split)
        _require(self.device in ("auto", "cpu", "cuda"), "device", "auto, cpu or cuda", self.device)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "train config") -> "TrainConfig":
        """Config from plain values; raises ValueError that names `where` and the nearest key for an unknown one."""
        return _from_dict(cls, values, where)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that `from_dict` takes back, JSON-able."""
        return asdict(self)


def load_model_config(path: Path) -> ModelConfig:
    """ModelConfig of a YAML file; raises ValueError naming the file for a wrong key or value."""
    return ModelConfig.from_dict(_load_yaml(path), str(path))


def load_train_config(path: Path) -> TrainConfig:
    """TrainConfig of a YAML file; raises ValueError naming the file for a wrong key or value."""
    return TrainConfig.from_dict(_load_yaml(path), str(path))


def _load_yaml(path: Path) -> Mapping[str, Any]:
    from ruamel.yaml import YAML  # a scorer reads no YAML

    values = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    if not isinstance(values, Mapping):
        raise ValueError(f"{path}: expected `key: value` lines, found {type(values).__name__}")
    return values


def _from_dict(cls: type[Config], values: Mapping[str, Any], where: str) -> Config:
    types = get_type_hints(cls)
    for key in values:
        if key not in types:
            raise ValueError(f"{where}: unknown key {key!r}{_nearest(str(key), types)}")
    try:
        return cls(**{key: _typed(key, value, types[key]) for key, value in values.items()})
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _nearest(key: str, known: Mapping[str, Any]) -> str:
    matches = get_close_matches(key, known, n=1)
    return f"; did you mean {matches[0]!r}?" if matches else f"; known keys: {', '.join(known)}"


def _typed(key: str, value: Any, expected: Any) -> Any:
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if expected == tuple[str, ...]:
        _require(
            isinstance(value, list | tuple) and all(isinstance(v, str) for v in value), key, "a list of text", value
        )
        return tuple(value)
    _require(
        isinstance(value, expected) and not isinstance(value, bool), key, f"a value of type {expected.__name__}", value
    )
    return value


def _require(holds: bool, key: str, expected: str, found: object) -> None:
    if not holds:
        raise ValueError(f"{key}: expected {expected}, found {found!r}")
