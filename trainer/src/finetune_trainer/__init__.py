"""LoRA fine-tuning of DeepSeek-V3 on torchtitan."""
