"""An MLflow server; the token is in MLFLOW_TRACKING_TOKEN."""

import re
import time
from collections.abc import Mapping

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from finetune_trainer.contract.tracking import Mlflow as Settings
from finetune_trainer.tracking.identity import Identity

TAG = "finetune.run"
LONGEST_PARAMETER = 6000
"""Of MLflow's own limits, as is the next."""
MOST_PARAMETERS = 100


class Mlflow:
    """One run there for all attempts, found again by a tag."""

    def __init__(self, settings: Settings, identity: Identity) -> None:
        self._client = MlflowClient(tracking_uri=settings.uri)
        experiment = self._experiment(settings.experiment)
        self._run = self._find_run(experiment, identity)
        self.place = f"{settings.uri.rstrip('/')}/#/experiments/{experiment}/runs/{self._run}"

    def log(self, step: int, values: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        metrics = [Metric(_name(name), value, now, step) for name, value in values.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def close(self) -> None:
        self._client.set_terminated(self._run)

    def _experiment(self, name: str) -> str:
        known = self._client.get_experiment_by_name(name)
        return str(known.experiment_id if known else self._client.create_experiment(name))

    def _find_run(self, experiment: str, identity: Identity) -> str:
        if found := self._client.search_runs([experiment], f"tags.`{TAG}` = '{identity.identifier}'"):
            self._client.update_run(found[0].info.run_id, status="RUNNING")
            return str(found[0].info.run_id)
        tags = {TAG: identity.identifier, "finetune.job": identity.group}
        run = self._client.create_run(experiment, run_name=identity.name, tags=tags)
        parameters = [Param(name, value[:LONGEST_PARAMETER]) for name, value in identity.settings.items()]
        self._client.log_batch(run.info.run_id, params=parameters[:MOST_PARAMETERS])
        return str(run.info.run_id)


def _name(name: str) -> str:
    """MLflow's names are paths of letters, digits, spaces and _-.:/ alone."""
    return re.sub(r"/{2,}", "/", re.sub(r"[^\w\-. :/]", "_", name))
