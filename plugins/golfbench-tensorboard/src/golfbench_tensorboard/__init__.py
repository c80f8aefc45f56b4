"""TensorBoard."""

from golfbench import hookimpl
from golfbench.specs import LoggerSpec


@hookimpl
def golfbench_loggers() -> list[LoggerSpec]:
    """Offer ``tensorboard``."""
    return [
        LoggerSpec(
            name="tensorboard",
            factory="golfbench_tensorboard.events:EventFile",
            summary="Event files of TensorBoard in the run directory: tensorboard --logdir RUN/logs/tensorboard.",
            license="Apache-2.0",
            requires=("tensorboard",),
            install_hint="pip install tensorboard",
        )
    ]
