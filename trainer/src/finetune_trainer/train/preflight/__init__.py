"""What is looked at before a model is built: a start that cannot end well costs seconds then, not an hour."""

from finetune_trainer.train.preflight.machine import check_machine
from finetune_trainer.train.preflight.peers import check_peers
from finetune_trainer.train.preflight.settings import Preflight
from finetune_trainer.train.preflight.transport import keep_log

__all__ = ["Preflight", "check_machine", "check_peers", "keep_log"]
