"""Attention on one GPU: longwatch against FlexAttention, SDPA and FA4, in turn, in one process; see cli.py.

python ops/benchmarks/attention --cases forward,dense --out results.jsonl
python ops/benchmarks/attention --chart results.jsonl
"""

import sys
from pathlib import Path

# Run as a script, this folder would be first on the path, and its file names are too common for that.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from attention.cli import main  # noqa: E402

if __name__ == "__main__":
    main()
