"""Draw the demo's output for the README: `python benchmarks/picture.py` writes docs/demo.svg."""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console

from palate.cli.demo import run_demo

if __name__ == "__main__":
    console = Console(file=io.StringIO(), record=True, width=100, highlight=False, markup=False, emoji=False)
    run_demo(None, None, json=False, console=console)
    svg = console.export_svg(title="palate demo")
    # Pictures in a README may not fetch fonts.
    target = Path(__file__).parents[1] / "docs" / "demo.svg"
    target.write_text(re.sub(r"@font-face \{.*?\}", "", svg, flags=re.S), encoding="utf-8")
