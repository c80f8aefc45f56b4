"""MLflow."""

from golfbench import hookimpl
from golfbench.specs import LoggerSpec, Parameter


@hookimpl
def golfbench_loggers() -> list[LoggerSpec]:
    """Offer ``mlflow``."""
    return [
        LoggerSpec(
            name="mlflow",
            factory="golfbench_mlflow.curves:MlflowRun",
            summary="MLflow: a database in the run directory, or a server.",
            parameters=(
                Parameter("uri", "", "Tracking URI; empty: mlflow.db in the run directory."),
                Parameter("experiment", "golfbench", "Experiment."),
            ),
            license="Apache-2.0",
            requires=("mlflow", "sqlalchemy", "alembic"),
            install_hint="pip install mlflow-skinny sqlalchemy alembic",
        )
    ]
