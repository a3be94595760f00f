"""Changes that the API server would refuse: by its own table, and so on one machine too."""

from finetune_operator.api.what_may_change import refused_changes, when_refused
from finetune_operator.core.objects import Manifest
from finetune_operator.local.errors import LocalError


def check_changes(before: Manifest | None, after: Manifest) -> None:
    """Raise LocalError for a change that a job which has started does not take."""
    if before is None or before["kind"] != "FineTuneJob" or "startTime" not in before.get("status", {}):
        return
    done = [each["type"] for each in before["status"].get("conditions", []) if each["status"] == "True"]
    if refused := refused_changes(before["spec"], after["spec"], done):
        name = before["metadata"]["name"]
        raise LocalError(
            f"FineTuneJob {name}: {', '.join(f'spec.{path}' for path in refused)} cannot change "
            f"{when_refused(refused[0])}",
            f"delete it with `finetune delete {name}` and run it again, or give the new one another name",
        )
