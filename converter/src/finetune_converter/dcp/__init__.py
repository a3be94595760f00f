"""torchtitan's checkpoints (torch.distributed.checkpoint), read without running the pickles in them."""
