"""How much training a benchmark's networks get, and where."""

from dataclasses import dataclass, field

from longwatch.model.config import ModelConfig, TrainConfig


@dataclass(frozen=True)
class Effort:
    """Steps of so many tokens; the same for every set, so that nothing is tuned to one."""

    steps: int = 300
    tokens_per_batch: int = 2048
    device: str = "auto"
    model: ModelConfig = field(
        default_factory=lambda: ModelConfig(dropout=0.1, layers=("sliding(32)", "sliding(32)"), block_size=32)
    )

    def training(self, seed: int) -> TrainConfig:
        """The network's training."""
        return TrainConfig(
            seed=seed,
            max_steps=self.steps,
            max_epochs=1000,
            tokens_per_batch=self.tokens_per_batch,
            max_window_tokens=min(1024, self.tokens_per_batch),
            validation_every=50,
            patience=8,
            device=self.device,
        )
