"""One rank of a large training, traced on a CPU: built, divided, loaded by plan, and a step of it.

    trace_case.py RUN.json RANK RESULT.json LAYERS

Tensors have shapes and no values (torch's fake tensors), other ranks are not there (torch's fake process
group); modules, autograd, FSDP and the optimizer are those of a real run, not compiled. What depends on
values is decided here: experts get equal shares, documents are as long as sequences, all tokens count.
"""

import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.pipelining import PipelineStage
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.experimental._context_parallel import _attention as context_parallel
from torch.nn.attention.flex_attention import BlockMask
from torchtitan.components.dataloader import BaseDataLoader
from torchtitan.components.loss import ChunkedLossWrapper
from torchtitan.components.tokenizer import BaseTokenizer
from torchtitan.config import CommConfig, CompileConfig
from torchtitan.distributed import ParallelDims, pipeline_parallel
from torchtitan.distributed import utils as distributed_utils
from torchtitan.models.common.attention import FlexAttention, VarlenMetadata
from torchtitan.models.common.token_dispatcher import AllToAllTokenDispatcher
from torchtitan.protocols.module import Module
from traced_cost import TracedCost

from finetune_trainer.checkpoint import writer
from finetune_trainer.contract.run_file import RunFile, RunFolders, load_run
from finetune_trainer.distributed import agreement, shards
from finetune_trainer.model import flash, frozen_base
from finetune_trainer.model.base_loader import frozen_tensors, planned_reads
from finetune_trainer.model.flavors import FLAVORS
from finetune_trainer.model.frozen import float8_products
from finetune_trainer.model.names import CheckpointNames
from finetune_trainer.train import config
from finetune_trainer.train.cpu import use_cpu
from finetune_trainer.train.trainer import LoRATrainer


class NoData(BaseDataLoader):
    @dataclasses.dataclass(kw_only=True, slots=True)
    class Config(BaseDataLoader.Config):
        pass

    def __init__(self, config: Config, **_: Any) -> None:
        del config

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        pass


class NoTokenizer(BaseTokenizer):
    @dataclasses.dataclass(kw_only=True, slots=True)
    class Config(BaseTokenizer.Config):
        pass

    def __init__(self, config: Config, **_: Any) -> None:
        del config

    def encode(self, *_: Any, **__: Any) -> list[int]:
        return []

    def decode(self, *_: Any, **__: Any) -> str:
        return ""

    def get_vocab_size(self) -> int:
        return 0


def traced_config(run: RunFile, root: Path) -> LoRATrainer.Config:
    """What the product configures on GPUs, less what needs one."""
    folders = RunFolders(root=root, paths=run.paths)
    with patch.object(config, "flash_attention_works", return_value=True):
        traced = config.trainer_config(run, folders, config.Data(training=NoData.Config(), sequences=1000))
    traced.tokenizer = NoTokenizer.Config()
    traced.comm = CommConfig(mode="fake_backend")
    traced.compile = CompileConfig(enable=False)
    traced.preflight = None
    traced.optimizer.implementation = "foreach"  # as many bytes as the fused one, which asks for a GPU
    # Not compiled, the loss takes 14 bytes a logit instead of 4: of a quarter of them at once.
    traced.loss = ChunkedLossWrapper.Config(num_chunks=4, loss_fn=traced.loss.loss_fn)
    return traced


def really(owner: Any, name: str) -> Any:
    """A patch that has `owner`'s function compute real values: ranks, offsets, meshes."""
    function = getattr(owner, name)

    def computed(*arguments: Any, **settings: Any) -> Any:
        with unset_fake_temporarily():
            return function(*arguments, **settings)

    return patch.object(owner, name, computed)


class FlexAttended(torch.autograd.Function):
    """What flex attention takes and keeps; its kernels are compiled, which no fake tensor is."""

    @staticmethod
    def forward(ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> Any:
        output = q.new_empty(*q.shape[:-1], v.shape[-1])
        logsumexp = q.new_empty(q.shape[:-1], dtype=torch.float32)
        ctx.save_for_backward(q, k, v, output, logsumexp)
        return output, logsumexp

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        return tuple(torch.empty_like(part) for part in ctx.saved_tensors[:3])


def flex_attended(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **_: Any) -> Any:
    output, logsumexp = FlexAttended.apply(q, k, v)
    return output, SimpleNamespace(lse=logsumexp)


def no_mask(**_: Any) -> BlockMask:
    blocks = torch.zeros(1, 1, 1, dtype=torch.int32)
    return BlockMask.from_kv_blocks(blocks, blocks[..., None])


@contextmanager
def unreal(run: RunFile) -> Iterator[None]:
    """Stands in for what needs values, other ranks or a GPU."""
    length, tokens = (
        run.training.sequence_length,
        run.training.sequence_length * run.training.micro_batch_size // run.training.parallelism.context,
    )
    bounds = torch.zeros(run.training.micro_batch_size + 1, dtype=torch.int32)
    documents = VarlenMetadata(cu_seq_q=bounds, cu_seq_k=bounds, max_q=length, max_k=length)

    def equal_shares(
        self: Any, _own: Any, received: torch.Tensor, ranks: int
    ) -> tuple[Any, list[int], list[int]]:
        splits = [tokens * self.top_k // ranks] * ranks
        return torch.ops._c10d_functional.wait_tensor(received).reshape(-1), splits, splits

    with ExitStack() as stack:
        for patched in (
            really(DeviceMesh, "__init__"),
            really(ParallelDims, "get_mesh"),
            really(ParallelDims, "get_optional_mesh"),
            really(shards, "compute_local_shape_and_global_offset"),
            patch.object(Module, "_init_self_parameters", lambda _self: None),
            patch.object(writer, "new_host_group", lambda: torch.distributed.group.WORLD),
            patch.object(agreement, "new_host_group", lambda: torch.distributed.group.WORLD),
            patch.object(flash, "current_flash_attention_impl", lambda: flash.IMPLEMENTATION),
            patch.object(frozen_base, "document_starts", lambda _positions: documents),
            patch.object(float8_products, "_result_dtype", lambda _values: torch.bfloat16),
            patch.object(pipeline_parallel, "PipelineStage", staged(run)),
            # A rank has one stage, and a copied fake tensor cannot be given memory.
            patch.object(pipeline_parallel, "copy", SimpleNamespace(deepcopy=lambda model: model)),
            patch.object(FlexAttention, "_compiled_flex_attn", flex_attended),
            patch.object(context_parallel, "_create_cp_block_mask", no_mask),
            patch.object(AllToAllTokenDispatcher, "_sync_token_count_exchange", equal_shares),
        ):
            stack.enter_context(patched)
        yield


def staged(run: RunFile) -> Any:
    """torchtitan's stages, told what comes from the one before and what goes on: nobody is there to ask."""
    shape = FLAVORS[run.flavor].shape
    sizes = (run.training.micro_batch_size, run.training.sequence_length)

    def stage(part: Any, number: int, stages: int, _device: Any, **settings: Any) -> PipelineStage:
        hidden = torch.empty(*sizes, shape.hidden_size, dtype=torch.bfloat16, requires_grad=True)
        settings["input_args"] = hidden if number else torch.zeros(sizes, dtype=torch.int64)
        settings["output_args"] = hidden
        return PipelineStage(part, number, stages, torch.device("cpu"), **settings)

    return stage


def train_step(trainer: LoRATrainer) -> None:
    """Forward, backward, clipping and the optimizer, as torchtitan does them, less what looks at values."""
    run = trainer.config.training
    pipelined = trainer.parallel_dims.pp_enabled
    count = trainer.num_pipeline_parallel_microbatches if pipelined else 1
    tokens = torch.zeros(run.local_batch_size // count, run.seq_len, dtype=torch.int64)
    batch = {"input": tokens, "positions": torch.zeros_like(tokens)}
    trainer.forward_backward_step(
        input_dict=[dict(batch) for _ in range(count)] if pipelined else batch,
        labels=[tokens.clone() for _ in range(count)] if pipelined else tokens.clone(),
        global_valid_tokens=torch.tensor(float(tokens.numel() * count)),
    )
    distributed_utils.clip_grad_norm_(
        [parameter for part in trainer.model_parts for parameter in part.parameters()],
        run.max_norm,
        foreach=True,
        ep_enabled=trainer.parallel_dims.ep_enabled,
    )
    for optimizer in trainer.optimizers:
        optimizer.step()


def planned(trainer: LoRATrainer) -> dict[str, Any]:
    """What this rank would read of the base, and which experts of the last layer."""
    names, size, experts = CheckpointNames.of(trainer.model_config), 0, []
    last = f"layers.{len(trainer.model_config.layers) - 1}."
    for part in trainer.model_parts:
        for name, tensor in frozen_tensors(part):
            for read in planned_reads(name, tensor, names):
                assert tuple(piece.stop - piece.start for piece in read.part) == tuple(read.target.shape), (
                    name
                )
                size += read.target.nbytes
                if name.startswith(last) and name.endswith("w1_EFD"):
                    experts.append(int(read.hf_name.split(".experts.")[1].split(".")[0]))
    return {"bytes": size, "experts": experts}


def parameters(trainer: LoRATrainer) -> dict[str, Any]:
    """By name in the last layer: the whole shape, this rank's, and whether it got a gradient."""
    last = f"layers.{len(trainer.model_config.layers) - 1}."
    named = {
        name.replace("_checkpoint_wrapped_module.", ""): parameter
        for name, parameter in trainer.model_parts[-1].named_parameters()
    }
    return {
        name.removeprefix(last): {
            "shape": list(tensor.shape),
            "local": list(tensor.to_local().shape if isinstance(tensor, DTensor) else tensor.shape),
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "gradient": named[name].grad is not None,
        }
        for name, tensor in trainer.model_parts[-1].state_dict().items()
        if name.startswith(last) and name in named
    }


def cut(flavor: str, *, layers: int) -> None:
    """Leave the flavour's first layers: what a layer takes and sends is that of the whole."""
    known = FLAVORS[flavor]
    FLAVORS[flavor] = dataclasses.replace(
        known, shape=dataclasses.replace(known.shape, num_hidden_layers=layers)
    )


def main() -> None:
    run, rank, result = load_run(Path(sys.argv[1])), sys.argv[2], Path(sys.argv[3])
    cut(run.flavor, layers=int(sys.argv[4]))
    os.environ |= {"NGPU": str(run.workers.world_size), "RANK": rank, "LOCAL_RANK": rank}
    use_cpu()
    traced, cost = traced_config(run, result.parent), TracedCost()
    with unreal(run), FakeTensorMode(allow_non_fake_inputs=True), cost:
        trainer: LoRATrainer = traced.build()
        plan, loaded = planned(trainer), cost.start_step()
        train_step(trainer)
        told = {
            "layers": len(trainer.model_config.layers),
            "planned": plan,
            "parameters": parameters(trainer),
            "loadedBytes": loaded,
            "peakBytes": cost.peak,
            "collectives": cost.collectives,
        }
    result.write_text(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
