"""Measure the wall-clock time of `firstlight --help` and of `import firstlight`, each in a new process.

python benchmarks/startup.py --num_turns 10
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from record import command_line, record, spread

TIMED_IMPORT = "import time; t = time.perf_counter(); import firstlight; print(time.perf_counter() - t)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_turns", type=int, default=10)
    options = parser.parse_args()
    help_s, import_s = [], []
    for _ in range(options.num_turns + 1):
        started_s = time.perf_counter()
        subprocess.run([sys.executable, "-m", "firstlight", "--help"], check=True, capture_output=True)
        help_s.append(time.perf_counter() - started_s)
        timed = subprocess.run([sys.executable, "-c", TIMED_IMPORT], check=True, capture_output=True, text=True)
        import_s.append(float(timed.stdout))
    results = {
        "what": "seconds of `firstlight --help` (whole process) and of `import firstlight` (inside a fresh process)",
        "help_s": spread(help_s[1:]),
        "import_s": spread(import_s[1:]),
    }
    print(record("startup", command_line(), results))


if __name__ == "__main__":
    main()
