"""The run's report.html: one file, readable offline, made of what the run left in its folder."""

from finetune_trainer.report.page import write_report

__all__ = ["write_report"]
