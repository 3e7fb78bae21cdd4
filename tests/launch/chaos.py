"""Short stages on the dev cluster while jobs, slurmd and slurmctld are killed at random, to the end: `python -m
tests.launch.chaos STAGES [SEED]`.

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
from slurm.devcluster import cluster
from tests.conftest import own_devcluster
from tests.launch.test_faults import NODES, Lab, _with_stub, slurm
from tests.launch.workspace import Workspace, make

STAGES_PER_SEED = 13
_ALL_AGAIN = {"retry": "1000"}
_PAUSE = 6.0  # seconds between two kills, at most
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
    """Kills, one after the other; `counts` says of what."""

    def __init__(self, lab: Lab, seed: int) -> None:
        self.lab, self.random, self.counts = lab, random.Random(seed), Counter[str]()

    def strike(self) -> None:
        blows = {"job": 10, "slurmd": 3, "slurmctld": 1, "requeue": 2}
        (blow,) = self.random.choices([*blows], [*blows.values()])
        with suppress(UserError, OSError):
            if getattr(self, f"_{blow}")():
                self.counts[blow] += 1

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


def run(lab: Lab, seed: int, quiet_after: float) -> Counter[str]:
    """To the end; the kills stop after so many seconds, at the latest. AssertionError where a promise is broken."""
    chaos, begun, kept, last = Chaos(lab, seed), time.monotonic(), dict[Path, bytes](), 0.0
    while True:
        if time.monotonic() - begun < quiet_after:
            chaos.strike()
        chaos.administer()
        now = lab.results()
        changed = [path for path, content in kept.items() if now.get(path) != content]
        assert not changed, f"finished results changed: {changed}"
        kept |= now
        if time.monotonic() - last > 5:
            with suppress(UserError):
                submit(lab.plan)
                chaos.counts["submit"] += 1
            last = time.monotonic()
            with suppress(UserError):
                seen = lab.look()
                print(
                    f"{time.monotonic() - begun:.0f} s: {len(seen.finished)} finished, {dict(chaos.counts)}", flush=True
                )
                if len(seen.finished) == len(lab.plan.stages):
                    break
        assert time.monotonic() - begun < quiet_after + 1200, {s.name: seen.state(s) for s in lab.plan.stages.values()}
        time.sleep(chaos.random.random() * _PAUSE)
    _check(lab)
    return chaos.counts


def _check(lab: Lab) -> None:
    """One result per stage; the queue empty but for what ends by itself."""
    for stage in lab.plan.stages.values():
        results = list((lab.store / "stages" / stage.folder).glob("result.json"))
        assert len(results) == (stage.kind == "train"), stage.name
    patience = time.monotonic() + 120
    while slurm("squeue", "-h", "-r", "-o", "%j").split():
        assert time.monotonic() < patience, slurm("squeue", "-h", "-r")
        time.sleep(1)


def main() -> None:
    stages, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    array_request.request = _with_stub(array_request.request)
    with own_devcluster("chaos") as folder, tempfile.TemporaryDirectory(prefix="stepstone-chaos-") as place:
        cluster.up(devcluster.Options(folder, 2, 4, 8000, gpus_per_node=0, max_array_size=1001))
        os.environ |= devcluster.environment(folder) | {"XDG_CACHE_HOME": f"{place}/cache"}
        workspace = make(Path(place))
        lab = Lab(folder, workspace, plan(workspace, stages))
        lab.pace(0.1)
        counts = run(lab, seed, quiet_after=1800)
        stage_folders = (lab.store / "stages" / stage.folder for stage in lab.plan.stages.values())
        attempts = Counter(len(attempts_of(stage_folder)) for stage_folder in stage_folders)
        print(f"{len(lab.plan.stages)} stages finished; {dict(counts)}; attempts: {dict(sorted(attempts.items()))}")


if __name__ == "__main__":
    main()
