"""The executor ``dask``: oracle calls on the workers of a Dask scheduler, or in processes of this machine."""

from golfbench import hookimpl
from golfbench.specs import ExecutorSpec, Parameter

PARAMETERS = (
    Parameter("scheduler", "", "Address (tcp://host:port) or file of a scheduler that runs. Empty: this machine."),
    Parameter("workers", 2, "Worker processes on this machine; a scheduler has its own."),
)


@hookimpl
def golfbench_executors() -> list[ExecutorSpec]:
    """Offer Dask."""
    return [
        ExecutorSpec(
            name="dask",
            factory="golfbench_dask.pool:DaskPool",
            summary="Workers of a Dask scheduler, or processes of this machine.",
            parameters=PARAMETERS,
            license="BSD-3-Clause",
            requires=("distributed", "cryptography"),
            install_hint="pip install golfbench-dask",
        )
    ]
