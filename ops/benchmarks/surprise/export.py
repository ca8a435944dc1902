"""Writes the units of benchmark sets as .npz for `train.py`: `python export.py OUT [SET]... --data DIR`."""

import argparse
from pathlib import Path

from longwatch.model.bench.surprise_files import save_cases
from longwatch.pipeline.bench.registry import cases_of, open_set, shipped_sets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("sets", nargs="*", default=shipped_sets())
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.sets:
        save_cases(options.out / f"{name}.npz", cases_of(*open_set(name, options.data)))
        print(f"{name}: {(options.out / f'{name}.npz').stat().st_size / 1e6:.2f} MB", flush=True)


if __name__ == "__main__":
    main()
