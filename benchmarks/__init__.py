"""Benchmarks, run as modules from the root of the repository; they share fixtures with the tests."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))
