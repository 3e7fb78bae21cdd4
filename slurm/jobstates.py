"""Slurm's job states, long and short, of Slurm 20 to 25, and what each means for whoever waits for the job.

From squeue(1) and sacct(1) of Slurm 22.05 and https://slurm.schedmd.com/job_state_codes.html for later ones.
"""

from typing import Literal

Phase = Literal["pending", "running", "ended", "unknown"]

# state: (short form or "", phase). "pending": will start, or start again, without us. "running": may hold nodes.
# "unknown": the word alone does not say whether the job comes back or runs elsewhere.
STATES: dict[str, tuple[str, Phase]] = {
    "BOOT_FAIL": ("BF", "ended"),
    "CANCELLED": ("CA", "ended"),
    "COMPLETED": ("CD", "ended"),
    "COMPLETING": ("CG", "running"),  # some of its processes may still write
    "CONFIGURING": ("CF", "pending"),
    "DEADLINE": ("DL", "ended"),
    "EXPEDITING": ("", "pending"),  # a requeue that goes first
    "FAILED": ("F", "ended"),
    "LAUNCH_FAILED": ("", "unknown"),  # a flag: over, or requeued and held
    "NODE_FAIL": ("NF", "ended"),
    "OUT_OF_MEMORY": ("OOM", "ended"),
    "PENDING": ("PD", "pending"),
    "POWER_UP_NODE": ("", "pending"),
    "PREEMPTED": ("PR", "ended"),  # where it was requeued, squeue and a newer record say so
    "RECONFIG_FAIL": ("", "pending"),  # a flag of jobs that are requeued
    "REQUEUED": ("RQ", "pending"),
    "REQUEUE_FED": ("RF", "pending"),
    "REQUEUE_HOLD": ("RH", "pending"),
    "RESIZING": ("RS", "running"),
    "RESV_DEL_HOLD": ("RD", "pending"),
    "REVOKED": ("RV", "unknown"),  # its sibling runs on another cluster of the federation
    "RUNNING": ("R", "running"),
    "SIGNALING": ("SI", "running"),
    "SPECIAL_EXIT": ("SE", "pending"),
    "STAGE_OUT": ("SO", "running"),
    "STOPPED": ("ST", "running"),
    "SUSPENDED": ("S", "running"),
    "TIMEOUT": ("TO", "ended"),
    "UPDATE_DB": ("", "unknown"),  # a flag of jobs in any state
}
_LONG = {short: long for long, (short, _) in STATES.items() if short}


def base(state: str) -> str:
    """The state's long name: of "CANCELLED by 1001", of a short form, and of a name cut off by sacct ("OUT_OF_ME+").

    A word that is none of Slurm's states, or cut too short to tell, is given back as it is, in capitals.
    """
    words = state.split()
    word = words[0].upper() if words else ""
    if word.endswith("+"):
        full_names = [name for name in STATES if name.startswith(word[:-1])] if len(word) > 1 else []
        return full_names[0] if len(full_names) == 1 else word
    return _LONG.get(word, word)


def phase(state: str) -> Phase:
    """Whether a job in that state waits, runs or is over. "unknown" also for words that no known Slurm uses."""
    return STATES.get(base(state), ("", "unknown"))[1]
