"""Scalars in runs of MLflow, many at a time: a transaction of its database takes as long as an update of a network."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from golfbench.imports import contained


@contextmanager
def _quiet() -> Iterator[None]:
    """Import the client without side effects, and switch off its telemetry."""
    with contained():
        os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        yield


with _quiet():
    from mlflow.entities import Experiment, Metric
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

for _name in ("mlflow", "alembic"):  # each new database is forty lines otherwise
    logging.getLogger(_name).setLevel(logging.ERROR)

#: Points that are held, and seconds that they are held, before they are written.
MOST_POINTS, MOST_S = 500, 5.0
RUN, COMBINATION = "golfbench.run", "golfbench.combination"


class MlflowRun:
    """See ``golfbench.contracts.Logger``. The MLflow run is found again by its tags.

    Args:
        uri: Tracking URI; empty: a database beside ``folder``, shared by the logs of a run.
        experiment: Experiment.
        folder: This log's own folder; it gets a file that says where the log is.
        run: Id of the golfbench run.
        combination: Name of the MLflow run.
    """

    def __init__(self, uri: str, experiment: str, folder: Path, run: str, combination: str) -> None:
        where = uri or f"sqlite:///{(folder.parent / 'mlflow.db').resolve()}"
        self._held: list[Metric] = []
        self._written_s = time.monotonic()
        self._known: dict[str, int] = {}
        with _quiet():
            self._client = MlflowClient(tracking_uri=where)
            owner = _experiment(self._client, experiment, None if uri else (folder.parent / "artifacts").as_uri())
            self._id, self._resumed = self._begin(owner, run, combination)
        (folder / "run.txt").write_text(f"{uri or 'mlflow.db'} {self._id}\n", encoding="utf-8")

    def _begin(self, experiment: str, run: str, combination: str) -> tuple[str, bool]:
        tags = {RUN: run, COMBINATION: combination}
        for known in self._client.search_runs([experiment], f"tags.`{RUN}` = '{run}'"):
            if known.data.tags.get(COMBINATION) == combination:
                return known.info.run_id, True
        return self._client.create_run(experiment, run_name=combination, tags=tags).info.run_id, False

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Buffer the values, and write the buffer when it is large or old."""
        now_ms = int(1000 * time.time())
        new = [Metric(name, value, now_ms, step) for name, value in values.items() if step > self._last_step(name)]
        self._held += new
        if len(self._held) >= MOST_POINTS or time.monotonic() > self._written_s + MOST_S:
            self._write()

    def _last_step(self, name: str) -> int:
        """Return the last step of a metric that an earlier session left."""
        if name not in self._known:
            with _quiet():
                history = self._client.get_metric_history(self._id, name) if self._resumed else []
            self._known[name] = max((metric.step for metric in history), default=-1)
        return self._known[name]

    def _write(self) -> None:
        with _quiet():
            while self._held:
                self._client.log_batch(self._id, metrics=self._held[:MOST_POINTS])
                del self._held[:MOST_POINTS]
        self._written_s = time.monotonic()

    def close(self) -> None:
        """Write the buffer and end the MLflow run."""
        self._write()
        with _quiet():
            self._client.set_terminated(self._id)


def _experiment(client: MlflowClient, name: str, artifacts: str | None) -> str:
    """Return the id of an experiment, which another process may be making at this moment."""
    found: Experiment | None = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=artifacts))
        except MlflowException:
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)
