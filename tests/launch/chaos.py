"""Short stages on the dev cluster, first undisturbed, then while jobs, slurmd and slurmctld are killed at random, both
to the end: `python -m tests.launch.chaos STAGES [SEED]`.

Whoever types `submit` now and then is all that mends anything, and an administrator who returns nodes to service.
"""

import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from launch.draft import request as array_request
from launch.plan import Plan
from launch.store.attempts import attempts_of
from launch.submit import submit
from slurm import devcluster
from slurm.base import UserError
from slurm.base.files import make_folder
from slurm.devcluster import cluster
from tests.conftest import own_devcluster
from tests.launch.test_faults import NODES, Lab, _with_stub, slurm
from tests.launch.workspace import Workspace, make

STAGES_PER_SEED = 13
_ALL_AGAIN = {"retry": "1000"}
BLOWS = {"job": 10, "slurmd": 3, "slurmctld": 1, "requeue": 2}  # how often each, beside the others
_PAUSE = 6.0  # seconds between two kills, at most
_BETWEEN_LOOKS = 5.0  # the same between two `submit`s, at least
_STEP_SECONDS = 0.1  # two to a stage
_QUIET_AFTER = 1800.0
CAUSES = ("unknown", "node", "code", "disk", "preempted", "time", "host-oom", "parent-missing", "nccl", "data")


def plan(workspace: Workspace, stages: int) -> Plan:
    """An experiment of so many stages, or a few more, that gives up on none."""
    options = {"executor": "slurm", "partition": "cpu", "cpus-per-task": "1", "mem": "64M", "time": "30", "bundle": "8"}
    failures = {cause: _ALL_AGAIN | ({"exclude": "false"} if cause in ("node", "nccl") else {}) for cause in CAUSES}
    seeds = [str(number) for number in range(-(-stages // STAGES_PER_SEED))]
    return workspace.plan(
        recipes=["none", "squad"], targets=["xnli", "panx", "xquad"], seeds=seeds, cluster=options, failures=failures
    )


class Chaos:
    """Kills, one after the other, and who types `submit` meanwhile; `counts` says how often."""

    def __init__(self, lab: Lab, seed: int) -> None:
        self.lab, self.random, self.counts = lab, random.Random(seed), Counter[str]()
        self._results = dict[Path, bytes]()
        self._begun = time.monotonic()
        self._looked = -_BETWEEN_LOOKS

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._begun

    def any_blow(self) -> str:
        (blow,) = self.random.choices([*BLOWS], [*BLOWS.values()])
        return blow

    def strike(self, blow: str) -> bool:
        """Whether there was something to hit."""
        with suppress(UserError, OSError):
            if getattr(self, f"_{blow}")():
                self.counts[blow] += 1
                return True
        return False

    def is_finished(self) -> bool:
        """Whether all is, after `submit` was typed where that was long ago. AssertionError where a result changed."""
        self.administer()
        now = self.lab.results()
        changed = [path for path, content in self._results.items() if now.get(path) != content]
        assert not changed, f"finished results changed: {changed}"
        self._results |= now
        if self.seconds - self._looked < _BETWEEN_LOOKS:
            return False
        self._looked = self.seconds
        with suppress(UserError):
            submit(self.lab.plan)
            self.counts["submit"] += 1
        with suppress(UserError):
            seen = self.lab.look()
            states = {state: number for state, number in seen.counts().items() if number}
            print(f"{self.seconds:.0f} s: {states}, {dict(self.counts)}", flush=True)
            return len(seen.finished) == len(self.lab.plan.stages)
        return False

    def check(self) -> None:
        """One result per stage; the queue empty but for what ends by itself, or an administrator releases."""
        for stage in self.lab.plan.stages.values():
            results = list((self.lab.store / "stages" / stage.folder).glob("result.json"))
            assert len(results) == (stage.kind == "train"), stage.name
        patience = time.monotonic() + 120
        while self.lab.in_queue():
            assert time.monotonic() < patience, slurm("squeue", "-h", "-r")
            self.administer()
            time.sleep(1)

    def _job(self) -> bool:
        """SIGKILL to an element's process."""
        processes = [process for process in Path("/proc").glob("[0-9]*") if self._is_element(process)]
        if not processes:
            return False
        os.kill(int(self.random.choice(processes).name), signal.SIGKILL)
        return True

    def _is_element(self, process: Path) -> bool:
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            return b"tests.launch.real_stub" in words and any(os.fsencode(self.lab.store) in word for word in words)
        return False

    def _slurmd(self) -> bool:
        node = self.random.choice(NODES)
        cluster.stop_daemon(self.lab.cluster, f"slurmd.{node}", kill=True)
        time.sleep(self.random.random() * 2)
        cluster.start_node(self.lab.cluster, node)
        return True

    def _slurmctld(self) -> bool:
        cluster.stop_daemon(self.lab.cluster, "slurmctld", kill=True)
        time.sleep(self.random.random() * 2)
        cluster.start_daemon(self.lab.cluster, "slurmctld")
        return True

    def _requeue(self) -> bool:
        jobs = slurm("squeue", "-h", "-r", "-t", "R", "-o", "%F_%K").split()
        if not jobs:
            return False
        slurm("scontrol", "requeue", self.random.choice(jobs))
        return True

    def administer(self) -> None:
        """A slurmctld that was killed as it launched a job drains the node and holds the job: as on any cluster."""
        with suppress(Exception):
            for node, state in cluster.status(self.lab.cluster).nodes.items():
                if "drain" in state or "down" in state:
                    slurm("scontrol", "update", f"NodeName={node}", "State=RESUME")
                    self.counts["node returned to service"] += 1
            for line in slurm("squeue", "-h", "-r", "-t", "PD", "-o", "%F_%K %r").splitlines():
                job, _, reason = line.partition(" ")
                if "held" in reason:
                    slurm("scontrol", "release", job)
                    self.counts["job released"] += 1


def run(lab: Lab, seed: int, quiet_after: float) -> str:
    """To the end, and what came of it; the kills stop after so many seconds, at the latest: 0 for none. AssertionError
    where a promise is broken."""
    chaos = Chaos(lab, seed)
    while not chaos.is_finished():
        if chaos.seconds < quiet_after:
            chaos.strike(chaos.any_blow())
        assert chaos.seconds < quiet_after + 1200, {s.name: lab.look().state(s) for s in lab.plan.stages.values()}
        time.sleep(chaos.random.random() * _PAUSE)
    seconds = chaos.seconds
    chaos.check()
    folders = [lab.store / "stages" / stage.folder for stage in lab.plan.stages.values()]
    attempts = Counter(len(attempts_of(folder)) for folder in folders)
    return (
        f"{len(folders)} stages finished in {seconds:.0f} s; {dict(chaos.counts)};"
        f" stages by attempts: {dict(sorted(attempts.items()))}"
    )


def main() -> None:
    stages, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    array_request.request = _with_stub(array_request.request)
    with own_devcluster("chaos") as folder, tempfile.TemporaryDirectory(prefix="stepstone-chaos-") as place:
        cluster.up(devcluster.Options(folder, 2, 4, 8000, gpus_per_node=0, max_array_size=1001))
        os.environ |= devcluster.environment(folder)
        reports = []
        for name, quiet_after in (("undisturbed", 0.0), ("killed", _QUIET_AFTER)):
            os.environ["XDG_CACHE_HOME"] = f"{place}/{name}/cache"
            workspace = make(make_folder(Path(place) / name))
            lab = Lab(folder, workspace, plan(workspace, stages))
            lab.pace(_STEP_SECONDS)
            print(name, flush=True)
            reports.append(f"{name}: {run(lab, seed, quiet_after)}")
        print(*reports, sep="\n")


if __name__ == "__main__":
    main()
