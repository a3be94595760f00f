"""The flavours for torchtitan's own command line.

`torchrun -m torchtitan.train --module finetune_trainer --config 671B_lora --hf_assets_path BASE \
    --checkpoint.enable --checkpoint.initial_load_path BASE`
"""

from functools import partial

import torch
from torchtitan.components.loss import ChunkedLossWrapper, CrossEntropyLoss
from torchtitan.components.optimizer import LRSchedulersContainer, default_adamw
from torchtitan.config import TrainingConfig
from torchtitan.distributed.activation_checkpoint import SelectiveAC
from torchtitan.hf_datasets.text_datasets import HuggingFaceTextDataLoader
from torchtitan.models.common.config_utils import decoder_vocab_size

from finetune_trainer.checkpoint.manager import LoRACheckpointManager
from finetune_trainer.model.flavors import FLAVORS
from finetune_trainer.model.spec import lora_model_spec
from finetune_trainer.train.cpu import use_cpu
from finetune_trainer.train.metrics import ProgressMetrics
from finetune_trainer.train.trainer import LoRATrainer


def flavor_config(name: str) -> LoRATrainer.Config:
    """Flavour `name` on c4, with adapters on the attention: on GPUs in bfloat16, else on CPUs in float32."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        use_cpu()
    spec = lora_model_spec(
        name,
        lora=FLAVORS[name].lora,
        targets=["attention"],
        base_dtype="bfloat16" if device == "cuda" else "float32",
        device=device,
    )
    return LoRATrainer.Config(
        model_spec=spec,
        hf_assets_path=f"./assets/hf/{name}",
        loss=ChunkedLossWrapper.Config(
            loss_fn=CrossEntropyLoss.Config(global_vocab_size=decoder_vocab_size(spec))
        ),
        metrics=ProgressMetrics.Config(log_freq=1),
        dataloader=HuggingFaceTextDataLoader.Config(dataset="c4"),
        optimizer=default_adamw(lr=2e-4),
        lr_scheduler=LRSchedulersContainer.Config(warmup_steps=10, decay_type="cosine"),
        training=TrainingConfig(
            local_batch_size=1,
            seq_len=4096 if device == "cuda" else 256,
            steps=1000,
            mixed_precision_param="bfloat16" if device == "cuda" else "float32",
            disable_cuda_graphs=True,
        ),
        checkpoint=LoRACheckpointManager.Config(interval=100),
        activation_checkpoint=SelectiveAC.Config() if device == "cuda" else None,
    )


# Named as the flavours are; torchtitan looks a configuration up by its name in this module.
globals().update({name: partial(flavor_config, name) for name in FLAVORS})
