"""Weights & Biases."""

from golfbench import hookimpl
from golfbench.specs import LoggerSpec, Parameter


@hookimpl
def golfbench_loggers() -> list[LoggerSpec]:
    """Offer ``wandb``."""
    return [
        LoggerSpec(
            name="wandb",
            factory="golfbench_wandb.curves:WandbRun",
            summary="Weights & Biases; in the run directory unless mode=online.",
            parameters=(
                Parameter("project", "golfbench", "Project."),
                Parameter("entity", "", "User or team; empty: your default."),
                Parameter(
                    "mode",
                    "offline",
                    "Whether curves are uploaded while the run goes on, or kept until `wandb sync`.",
                    choices=("offline", "online"),
                ),
            ),
            license="MIT",
            requires=("wandb",),
            install_hint="pip install wandb",
        )
    ]
