"""`make bench-plan`: the time and memory of planning 100,000 stages, by the real command in a process of its own."""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from launch.demo import data
from training.pretrained import small

SEEDS = 1755  # of 57 stages each
EXPERIMENT = """\
name: many
store: ./store
model: ./model
recipes: ["orders(mnli, squad, hellaswag)"]
targets: [xnli, panx, tydiqa, tatoeba]
seeds: {seeds}
data: {{root: ./data}}
cluster: {{executor: local}}
"""


def main() -> None:
    """Prints one line per command: stages, seconds, peak memory."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small.tiny(folder / "model")
        data.write(folder / "data")
        file = folder / "experiment.yaml"
        file.write_text(EXPERIMENT.format(seeds=list(range(SEEDS))))
        for arguments in (["plan", str(file)], ["plan", str(file), "--json"], ["status", str(file)]):
            _measure(arguments, folder / "out")


def _measure(arguments: list[str], out: Path) -> None:
    command = str(Path(sys.executable).parent / "stepstone")
    begun = time.monotonic()
    with out.open("w", encoding="utf-8") as file:
        subprocess.run([command, *arguments], stdout=file, check=True)
    seconds = time.monotonic() - begun
    # The largest of the children so far; the commands come in the order of their appetite.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    shown = " ".join([arguments[0], *arguments[2:]])
    stages = f"{len(json.loads(out.read_text(encoding='utf-8'))['stages']):,} stages" if "--json" in arguments else ""
    print(f"stepstone {shown:12} {seconds:6.2f} s  peak {peak:.2f} GiB  {stages}")


if __name__ == "__main__":
    main()
