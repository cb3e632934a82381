"""The scripts in benchmarks/ are not a package and import each other by file name."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
