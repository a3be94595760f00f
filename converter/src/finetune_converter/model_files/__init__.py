"""Model folders on disk: safetensors files read and written with bounds, never pickle."""
