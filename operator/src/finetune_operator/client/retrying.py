"""Whether another try helps a job that has failed."""

from finetune_operator.core.conditions import condition_of
from finetune_operator.core.objects import Manifest
from finetune_operator.finetune.reasons import JobReason
from finetune_operator.local.errors import LocalError


def check_failed(job: Manifest) -> None:
    """Raise LocalError for a job that another try does not help."""
    name, status = job["metadata"]["name"], job.get("status", {})
    failed = condition_of(status, "Failed")
    if failed.get("status") != "True":
        raise LocalError(
            f"FineTuneJob {name} has not failed; it is {status.get('phase', 'new')}",
            f"see `finetune status {name}`",
        )
    if failed["reason"] == JobReason.DEADLINE_EXCEEDED:
        raise LocalError(
            f"FineTuneJob {name} took longer than it may",
            "raise scheduling.activeDeadlineSeconds: it goes on by itself then",
        )
    if failed["reason"] == condition_of(status, "Fits").get("reason"):
        raise LocalError(f"FineTuneJob {name} does not fit: {failed['message']}", "change its spec")
    if "startTime" not in status:
        raise LocalError(f"FineTuneJob {name} was never started: {failed['message']}", "change its spec")
