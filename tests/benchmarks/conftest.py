"""The scripts in benchmarks/ are in no package: they import each other by their file names."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
