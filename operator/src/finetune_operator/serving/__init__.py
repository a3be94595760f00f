"""ModelDeployment: a vLLM server of a model in the volume. It knows nothing of how the model was made."""

from finetune_operator.serving.observed import Observed

__all__ = ["Observed"]
