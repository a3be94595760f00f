"""The children of a FineTuneJob, as pure builders: one file per noun."""
