"""Everything before training: the base and the dataset in the volume, whole, checked and tokenized."""
