"""The executor ``parsl``: oracle calls on a cluster, or in processes of this machine."""

from golfbench import hookimpl
from golfbench.specs import ExecutorSpec, Parameter

PARAMETERS = (
    Parameter("config", "", "Python file that defines 'config', a parsl.Config; it is run. Empty: this machine."),
    Parameter("workers", 2, "Worker processes on this machine; a configuration file has its own number."),
)


@hookimpl
def golfbench_executors() -> list[ExecutorSpec]:
    """Offer Parsl."""
    return [
        ExecutorSpec(
            name="parsl",
            factory="golfbench_parsl.opening:open_pool",
            summary="Workers of Parsl: SLURM, PBS, Kubernetes and more by its own configuration file, or this machine.",
            parameters=PARAMETERS,
            citation="10.1145/3307681.3325400",
            license="Apache-2.0",
            requires=("parsl",),
            install_hint="pip install golfbench-parsl",
        )
    ]
