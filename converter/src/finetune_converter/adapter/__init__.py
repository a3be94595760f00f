"""LoRA adapters as PEFT writes them, read without PEFT and without pickle."""
