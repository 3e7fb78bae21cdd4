"""terminal.svg: what a person sees, from a real store with two finished experiments. `make docs` draws it anew, and
with it the pictures of watch.py.
"""

import io
import re
import sys
import tarfile
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text
from typer.testing import CliRunner

from launch.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
STORE = ROOT / "tests/launch/store/store-of-2026-11-26.tar.xz"
PICTURE = Path(__file__).with_name("terminal.svg")
WIDTH = 80
_OF_THE_PLAN = ("stages", "sharing")  # the whole plan is too long for a picture
_OF_STATUS = 7  # lines: the matrix


def terminal() -> str:
    """The picture as SVG: three commands and their output, byte for byte the same each time."""
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(STORE) as archive:
            archive.extractall(folder, filter="data")
        file = Path(folder) / "study.yaml"
        plan = [line for line in _output("plan", file).splitlines() if line.startswith(_OF_THE_PLAN)]
        _show(console, f"plan study.yaml | grep -E '{'|'.join(_OF_THE_PLAN)}'", "\n".join(plan))
        status = _output("status", file).splitlines()[:_OF_STATUS]
        _show(console, f"status study.yaml | head -{_OF_STATUS}", "\n".join(status))
        _show(console, "collect study.yaml", _output("collect", file))
    picture = console.export_svg(title="stepstone", unique_id="terminal")
    return re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)  # no fonts from the network


def _output(command: str, file: Path) -> str:
    answer = CliRunner().invoke(app, [command, str(file)], env={"COLUMNS": str(WIDTH)})
    if answer.exit_code:
        sys.exit(answer.output)
    return answer.stdout


def _show(console: Console, command: str, output: str) -> None:
    console.print(Text.assemble(("$ ", "green"), (f"stepstone {command}", "bold")))
    console.print(Text(output.rstrip() + "\n"))


if __name__ == "__main__":
    import watch

    watch.draw()
    PICTURE.write_text(terminal())
