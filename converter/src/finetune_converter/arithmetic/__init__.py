"""Numbers: block FP8, LoRA updates, rounding. Pure functions of tensors."""
