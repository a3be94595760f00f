"""A FineTuneJob out of torchtitan's own configuration: what `finetune import` writes."""
