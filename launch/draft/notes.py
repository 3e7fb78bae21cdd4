"""What `plan` and `submit` say of where jobs run and what they ask for, where that is open or more than is used."""

from launch import executors
from launch.draft import environment
from launch.plan import Plan
from launch.text import some


def lines(plan: Plan) -> list[tuple[str, str]]:
    """A label and a line for each thing to know: who runs the jobs and why, what stays idle, what the shell adds."""
    return [
        *(("executor", line) for line in _executor(plan)),
        *(("resources", line) for line in _idle(plan)),
        *(("notify", line) for line in _notify(plan)),
        *(("environment", notice.line) for notice in environment.notices(plan.experiment)),
    ]


def _executor(plan: Plan) -> list[str]:
    cluster = plan.experiment.cluster
    choice = cluster.choice
    if choice.why:
        return [f"{choice.name}, since the file leaves it open: {choice.why}"]
    if choice.name == "local" and cluster.only_slurms:
        return [f"local, as the file says: {some(cluster.only_slurms)} mean nothing to local workers"]
    return []


def _notify(plan: Plan) -> list[str]:
    """A mail that nobody sends."""
    if not plan.experiment.notify.mail or executors.of_cluster(plan.experiment.cluster).has_queue:
        return []
    return ["mail is Slurm's, and local workers send none; `notify: {command: …}` runs beside submit --wait"]


def _idle(plan: Plan) -> list[str]:
    """GPUs that nothing computes on."""
    request = plan.experiment.cluster.asked
    if not request.gpus:
        return []
    if plan.devices() == {"cpu"}:
        return [f"{request.gpus} GPUs a node are asked for, and `device: cpu` uses none"]
    idle = request.gpus - request.tasks
    if idle > 0:
        mend = "leave out ntasks-per-node for a process on each"
        processes = "one process" if request.tasks == 1 else f"{request.tasks} processes"
        return [f"{request.gpus} GPUs a node for {processes}: {idle} without work; {mend}"]
    return []
