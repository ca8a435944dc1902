"""Who sees incidents whose evidence lies up to 60,000 events back; see cli.py.

python ops/benchmarks/long_range --filler filler.npz --write
python ops/benchmarks/long_range --filler filler.npz --out results.jsonl
python ops/benchmarks/long_range --chart results.jsonl
"""

import sys
from pathlib import Path

# Run as a script, this folder would be first on the path, and its file names are too common for that.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from long_range.cli import main  # noqa: E402

if __name__ == "__main__":
    main()
