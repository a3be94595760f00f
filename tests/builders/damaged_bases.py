"""What people do to a base, or find done to it: each a function of its folder."""

import json

import torch
from safetensors.torch import load_file, save_file

from finetune_trainer.base.float8 import quantize

SHARD = "model-00001-of-00002.safetensors"


def drop_tensor(base, name):
    tensors = load_file(base / SHARD)
    del tensors[name]
    save_file(tensors, base / SHARD)


def reshape_tensor(base):
    tensors = load_file(base / SHARD)
    name = next(name for name in tensors if name.endswith("o_proj.weight"))
    tensors[name] = torch.zeros(8, 8, dtype=torch.bfloat16)
    save_file(tensors, base / SHARD)


def add_tensor(name, shape=(4,), dtype=torch.bfloat16):
    """Into a shard, and into the index or not: what loads a model reads all that is in its files."""

    def add(base):
        tensors = load_file(base / SHARD)
        tensors[name] = torch.zeros(shape, dtype=dtype)
        save_file(tensors, base / SHARD)

    return add


def retype_tensor(name, dtype):
    def retype(base):
        tensors = load_file(base / SHARD)
        tensors[name] = tensors[name].to(dtype)
        save_file(tensors, base / SHARD)

    return retype


def float8_tensor(name):
    def quantized(base):
        shard = next(file for file in base.glob("*.safetensors") if name in load_file(file))
        tensors = load_file(shard)
        tensors[name], tensors[f"{name}_scale_inv"] = quantize(tensors[name])
        save_file(tensors, shard)
        index = json.loads((base / "model.safetensors.index.json").read_text())
        index["weight_map"][f"{name}_scale_inv"] = shard.name
        (base / "model.safetensors.index.json").write_text(json.dumps(index))

    return quantized


def link_to_nowhere(base):
    (base / SHARD).unlink()
    (base / SHARD).symlink_to("../../blobs/0123abcd")


def as_cache(base):
    """The repository's folder of a Hugging Face cache, instead of a snapshot in it."""
    snapshot = base / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    for file in [file for file in base.iterdir() if file.is_file()]:
        file.rename(snapshot / file.name)


def only_tiktoken(base):
    (base / "tokenizer.json").unlink()
    (base / "tiktoken.model").write_text("")


def replace(name, content):
    return lambda base: (base / name).write_bytes(content)


LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"


def change_config(**fields):
    def change(base):
        config = json.loads((base / "config.json").read_text())
        (base / "config.json").write_text(json.dumps(config | fields))

    return change
