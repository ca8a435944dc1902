"""Trains the bundle that `longwatch demo` ships, on the generator's normal days: `make demo-bundle`."""

import argparse
import shutil
import tempfile
from pathlib import Path

from longwatch.pipeline.commands.train import train
from longwatch.pipeline.console import set_up_logging
from longwatch.pipeline.demo.generator import TRAIN_DAYS, TRAIN_FIRST_DAY, generate

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "pipeline" / "demo"


def main() -> None:
    """Writes normal days to a scratch log, trains on it with the demo's own configuration, replaces the bundle."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--days", type=float, default=TRAIN_DAYS)
    options.add_argument("--out", type=Path, default=DEMO / "bundle")
    options.add_argument("--model", type=Path, default=ROOT / "configs" / "model" / "demo.yaml")
    options.add_argument("--train", type=Path, default=ROOT / "configs" / "train" / "demo.yaml")
    given = options.parse_args()
    set_up_logging()
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copy(DEMO / "demo.yaml", Path(scratch) / "demo.yaml")
        with (Path(scratch) / "demo.log").open("w") as file:
            for hour in generate(given.seed, TRAIN_FIRST_DAY, given.days):
                file.writelines(f"{line}\n" for line in hour["line"])
        made = Path(scratch) / "bundle"
        train(Path(scratch) / "demo.yaml", {}, given.model, given.train, made, None)
        if given.out.exists():
            shutil.rmtree(given.out)
        shutil.copytree(made, given.out)


if __name__ == "__main__":
    main()
