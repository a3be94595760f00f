"""Merge, verify and publish LoRA adapters."""
