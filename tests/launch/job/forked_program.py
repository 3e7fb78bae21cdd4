"""Forks an element as a local worker does, and says which packages it imported itself: MANIFEST INDEX."""

import json
import os
import sys

from launch.job import forked
from slurm import forks
from training import distributed


def main(manifest: str, index: str) -> None:
    """Print the fork's exit code, and a line of JSON from inside of it."""
    environment = os.environ | {"STEPSTONE_MANIFEST": manifest, "STEPSTONE_INDEX": index}
    forked.prepare([environment])
    assert forks.make_clean(), (forks.threads(), "threads")
    before = {name.partition(".")[0] for name in sys.modules}

    def leave(code: int) -> None:
        packages = {name.partition(".")[0] for name in sys.modules} - before - sys.stdlib_module_names
        print(json.dumps({"code": code, "late": sorted(packages)}), flush=True)
        os._exit(code)

    distributed.leave = leave  # type: ignore[assignment]
    child = forks.fork(forked.main, 1, environment)
    sys.exit(child.wait())


if __name__ == "__main__":
    main(*sys.argv[1:])
