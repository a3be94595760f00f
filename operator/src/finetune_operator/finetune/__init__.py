"""FineTuneJob: what was observed, which children are wanted, and the reconcile between the two."""

from finetune_operator.finetune.observed import Observed, ObservedProgress

__all__ = ["Observed", "ObservedProgress"]
