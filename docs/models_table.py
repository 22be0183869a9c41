"""Write the table of docs/models.md: run the tests of architectures, and say what each proved.

    python docs/models_table.py

    python docs/models_table.py --write docs/models.md

What did not pass has no number. The tests take a few minutes; with --write the lines between
the two marks of the guide are replaced, else the table is printed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TESTS = [str(ROOT / "tests" / name) for name in ("test_architectures.py", "test_gguf.py")]
BEGIN, END = "<!-- made by docs/models_table.py -->", "<!-- end -->"
COLUMNS = {
    "architecture": "architecture",
    "kind": "`model_type`",
    "template": "chat template",
    "cache": "layers",
    "mode": "searched as",
    "sdpa": "SDPA",
    "eager": "eager",
    "4bit": "4 bits",
    "8bit": "8 bits",
    "adapters": "2 adapters",
    "f32": "GGUF",
    "q8_0": "Q8_0",
    "q4_0": "Q4_0",
    "alone": "alone",
}


class Recorder:
    """A plugin of pytest that keeps what tests that passed have recorded."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Called by pytest after each phase of each test."""
        found = dict(report.user_properties)
        if report.when == "call" and report.passed and "architecture" in found:
            self.rows.setdefault(found["architecture"], {}).update(found)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = ["| " + " | ".join(COLUMNS.values()) + " |", "|" + "---|" * len(COLUMNS)]
    for row in rows:
        lines.append("| " + " | ".join(cell(row.get(name)) for name in COLUMNS) + " |")
    return "\n".join(lines)


def cell(value: Any) -> str:
    """Differences with one digit; nothing was proved: nothing is said."""
    if value is None:
        return ""
    return f"{value:.0e}" if isinstance(value, float) else str(value)


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path, help="the guide whose table is to be replaced")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tests; 0 when all passed."""
    import pytest

    args = make_parser().parse_args(argv)
    recorder = Recorder()
    code = int(pytest.main(["-q", "-m", "", "-p", "no:cacheprovider", *TESTS], [recorder]))
    made = table(list(recorder.rows.values()))
    if args.write is None:
        print(made)
        return code
    text = args.write.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text.partition(BEGIN)[2]:
        print(f"models_table: {args.write} has no lines {BEGIN!r} and {END!r}", file=sys.stderr)
        return 1
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    args.write.write_text(f"{before}{BEGIN}\n{made}\n{END}{after}", encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
