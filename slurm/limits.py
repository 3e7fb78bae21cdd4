"""The cluster's limits, asked for, not assumed."""

import re
import subprocess

from slurm.errors import UserError

_DEFAULT = 1001  # Slurm's own default of MaxArraySize


def max_array_size() -> int:
    """Slurm's MaxArraySize: the largest array index plus one. UserError where no slurmctld answers."""
    try:
        result = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        raise UserError("there is no Slurm here (scontrol not found); run on a login node, "
                        "or set `cluster: {executor: local}`") from None  # fmt: skip
    except subprocess.TimeoutExpired:
        raise UserError("Slurm does not answer (scontrol timed out); try again later, nothing was sent") from None
    if result.returncode:
        said = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"Slurm does not answer ({said}); try again later, nothing was sent")
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", result.stdout, re.MULTILINE)
    return int(found[1]) if found else _DEFAULT
