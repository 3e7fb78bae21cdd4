"""`stepstone devcluster`: a real Slurm on this machine, to try things with."""

from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[
    Path | None,
    typer.Option(help="Where it keeps everything [$STEPSTONE_DEVCLUSTER, else ~/.stepstone/devcluster]."),
]
Cpus = Annotated[int | None, typer.Option(help="CPUs that each node advertises [its share of the real ones].")]
Memory = Annotated[int | None, typer.Option(help="MB that each node advertises [its share of the real memory].")]
Ports = Annotated[int | None, typer.Option(help="First of its ports on 127.0.0.1 [free ones].")]
User = Annotated[list[str] | None, typer.Option(help="Also take jobs of this user; may be repeated.")]


def _folder(folder: Path | None) -> Path:
    from slurm import devcluster

    return folder or devcluster.default_folder()


def up(
    folder: Folder = None,
    nodes: Annotated[int, typer.Option(help="Virtual nodes.")] = 2,
    cpus_per_node: Cpus = None,
    memory_per_node: Memory = None,
    gpus_per_node: Annotated[int, typer.Option(help="Fake GPUs on each node.")] = 1,
    max_array_size: Annotated[int, typer.Option(help="Slurm's MaxArraySize.")] = 1001,
    port_base: Ports = None,
    user: User = None,
    bind_tasks: Annotated[
        bool, typer.Option("--bind-tasks", help="Bind tasks to cores, as most clusters do (task/affinity).")
    ] = False,
    install: Annotated[bool, typer.Option("--install", help="Install missing packages with apt-get.")] = False,
) -> None:
    """Start the cluster, or bring a running one to these options; nothing happens where all is as asked."""
    from slurm import devcluster

    options = devcluster.Options(
        folder=_folder(folder),
        nodes=nodes,
        cpus_per_node=cpus_per_node,
        memory_per_node=memory_per_node,
        gpus_per_node=gpus_per_node,
        max_array_size=max_array_size,
        port_base=port_base,
        users=("root", *(user or ())),
        bind_tasks=bind_tasks,
        install=install,
    )
    slurm_conf = devcluster.up(options)
    typer.echo(f"export SLURM_CONF={slurm_conf}")
    # a comment, so that the whole of it can be given to `eval`
    typer.echo("# Type the line above, then `sinfo` or `stepstone submit FILE`; `stepstone devcluster down` ends it.")


def down(
    folder: Folder = None,
    wipe: Annotated[bool, typer.Option("--wipe", help="Remove its folder as well: queue, accounts, logs.")] = False,
) -> None:
    """Stop the cluster and all that runs on it."""
    from slurm import devcluster

    devcluster.down(_folder(folder), wipe=wipe)


def status(folder: Folder = None) -> None:
    """Say what runs; exit code 3 where something is down."""
    from slurm import devcluster

    cluster = devcluster.status(_folder(folder))
    for name, pid in cluster.daemons.items():
        typer.echo(f"{name:<14} " + (f"up, pid {pid}" if pid else "down"))
    for name, state in cluster.nodes.items():
        typer.echo(f"{name:<14} {state or 'unknown: slurmctld does not answer'}")
    if not cluster.healthy:
        raise typer.Exit(3)


def env(folder: Folder = None) -> None:
    """Print the line that points Slurm's commands here: eval "$(stepstone devcluster env)"."""
    from slurm import devcluster

    for name, value in devcluster.environment(_folder(folder)).items():
        typer.echo(f"export {name}={value}")
