"""The files beside the weights: whose they are, what they say, and what of the base is left out."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from small_deepseek import load_json

from finetune_converter.failure import Failure
from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.export_dtype import Dtype

Write = Callable[..., Path]
TOKENIZER = {"added_tokens": [{"id": 0, "content": "<bos>"}], "model": {"vocab": {}}}


def put(folder: Path, **files: object) -> None:
    """Files by name, `__` for a dot: text as it is, anything else as JSON."""
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name.replace("__", ".")).write_text(text)


def merged(base: Path, adapter: Path) -> Path:
    out = base.parent / "merged"
    merge_folders(base=base, adapter=adapter, out=out, dtype=Dtype.BASE, workers=1)
    return out


def card(folder: Path) -> str:
    return (folder / "README.md").read_text()


def test_code_is_left_out_and_nothing_names_it(base: Path, adapter: Write) -> None:
    auto_map = {"AutoConfig": "configuration_deepseek.DeepseekV3Config"}
    put(base, config__json={**load_json(base / "config.json"), "auto_map": auto_map})
    put(base, tokenizer_config__json={"auto_map": {"AutoTokenizer": ["x.Y", None]}, "eos_token": "</s>"})
    put(base, configuration_deepseek__py="raise SystemExit", vocab__tiktoken="IQ== 0\n")
    put(base, pytorch_model__bin="x", adapter_config__json={"peft_type": "LORA"})
    put(base, **{"pytorch_model.bin.index.json": {"weight_map": {}}, "consolidated.safetensors": "x"})
    (base / "additional_chat_templates").mkdir()
    put(base / "additional_chat_templates", tool_use__jinja="{{ tools }}")
    folder = merged(base, adapter())
    assert "auto_map" not in load_json(folder / "config.json")
    assert load_json(folder / "tokenizer_config.json") == {"eos_token": "</s>"}
    assert (folder / "vocab.tiktoken").exists()
    left_out = [
        *("adapter_config.json", "additional_chat_templates/", "configuration_deepseek.py"),
        *("consolidated.safetensors", "pytorch_model.bin", "pytorch_model.bin.index.json"),
    ]
    assert f"Not carried over from the base: {', '.join(left_out)}." in card(folder)
    assert "config.json and tokenizer_config.json named code (auto_map)" in card(folder)
    assert not any((folder / name.rstrip("/")).exists() for name in left_out)


@pytest.mark.parametrize(
    ("base_files", "adapter_files", "expected"),
    [
        pytest.param(
            {"tokenizer__json": TOKENIZER},
            {},
            {"tokenizer.json": "base", "tokenizer_config.json": "base"},
            id="the base's",
        ),
        pytest.param(
            {"tokenizer__json": TOKENIZER, "special_tokens_map__json": {}, "chat_template__jinja": "base"},
            {"tokenizer__json": TOKENIZER, "tokenizer_config__json": {"chat_template": "mine"}},
            {
                "tokenizer.json": "adapter",
                "tokenizer_config.json": "adapter",
                "special_tokens_map.json": None,
                "chat_template.jinja": None,
            },
            id="a whole tokenizer",
        ),
        pytest.param(
            {"tokenizer__json": TOKENIZER, "chat_template__jinja": "base"},
            {"chat_template__jinja": "mine"},
            {"tokenizer.json": "base", "tokenizer_config.json": "base", "chat_template.jinja": "adapter"},
            id="a template alone",
        ),
        pytest.param(
            {"tokenizer__json": TOKENIZER, "chat_template__jinja": "base"},
            {"tokenizer_config__json": {"chat_template": "mine"}},
            {"tokenizer.json": "base", "tokenizer_config.json": "adapter", "chat_template.jinja": None},
            id="a template in the configuration",
        ),
        pytest.param(
            {"chat_template__jinja": "base"},
            {"tokenizer_config__json": {"eos_token": "<|end|>"}},
            {"tokenizer_config.json": "adapter", "chat_template.jinja": "base"},
            id="settings without a template",
        ),
    ],
)
def test_the_tokenizer_is_the_adapter_s(
    base: Path,
    adapter: Write,
    base_files: dict[str, object],
    adapter_files: dict[str, object],
    expected: dict[str, str | None],
) -> None:
    brought = adapter()
    put(base, **base_files)
    put(brought, **adapter_files)
    folder = merged(base, brought)
    for name, owner in expected.items():
        if owner is None:
            assert not (folder / name).exists(), name
        else:
            source = brought if owner == "adapter" else base
            assert (folder / name).read_bytes() == (source / name).read_bytes(), name
    assert ("The tokenizer is the adapter's" in card(folder)) == bool(adapter_files)
    listed = load_json(folder / "MANIFEST.json")["files"]
    assert set(listed) == {file.name for file in folder.iterdir()} - {"MANIFEST.json"}


ADDED = [{"id": 64 + n, "content": f"<|{n}|>"} for n in range(3)]


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"tokenizer__json": {"added_tokens": ADDED}}, id="tokenizer.json"),
        pytest.param(
            {"tokenizer__json": {"model": {"vocab": {"a": 3, "<|0|>": 64, "<|1|>": 65, "<|2|>": 66}}}},
            id="BPE",
        ),
        pytest.param(
            {
                "tokenizer__json": {
                    "model": {"vocab": [[f"{n}", 0.0] for n in range(64)] + [["<|0|>", 0.0]] * 1}
                },
                "added_tokens__json": {"<|1|>": 65, "<|2|>": 66},
            },
            id="Unigram and added_tokens.json",
        ),
        pytest.param(
            {
                "tokenizer_config__json": {
                    "added_tokens_decoder": {str(t["id"]): {"content": t["content"]} for t in ADDED}
                }
            },
            id="added_tokens_decoder",
        ),
    ],
)
def test_tokens_that_the_base_has_no_embeddings_for(
    base: Path, adapter: Write, files: dict[str, object]
) -> None:
    brought = adapter()
    put(brought, **files)
    with pytest.raises(Failure, match=r"adds '<\|0\|>' and 2 more tokens beyond the base's 64 embeddings"):
        merged(base, brought)
    assert not list(base.parent.glob("merged*"))


@pytest.mark.parametrize(
    ("eos", "ends", "said"),
    [
        pytest.param("<|im_end|>", 1, True, id="another"),
        pytest.param({"content": "<|im_end|>", "special": True}, [1, 2], True, id="none of several"),
        pytest.param("<|im_end|>", [1, 7], False, id="one of several"),
        pytest.param("<|im_end|>", 7, False, id="the same"),
        pytest.param("<|unknown|>", 1, False, id="no token of the tokenizer"),
        pytest.param(None, 1, False, id="none"),
    ],
)
def test_an_adapter_s_tokenizer_that_ends_otherwise_is_said(
    base: Path, adapter: Write, eos: object, ends: object, said: bool
) -> None:
    """transformers stops at generation_config's ids alone: the answer would not end."""
    brought = adapter()
    put(base, generation_config__json={"eos_token_id": ends})
    put(
        brought,
        tokenizer__json={**TOKENIZER, "added_tokens": [{"id": 7, "content": "<|im_end|>"}]},
        tokenizer_config__json={"eos_token": eos},
    )
    assert ("id 7, and generation_config.json" in card(merged(base, brought))) == said


def test_what_is_not_taken_from_the_adapter_is_said(base: Path, adapter: Write) -> None:
    brought = adapter()
    (brought / "additional_chat_templates").mkdir()
    put(brought, vocab__tiktoken="IQ== 0\n", generation_config__json={"eos_token_id": 7}, README__md="# Mine")
    said = "Not taken from the adapter: additional_chat_templates/, generation_config.json, vocab.tiktoken."
    assert said in card(merged(base, brought))


def test_a_cache_snapshot_becomes_files(base: Path, adapter: Write) -> None:
    """The Hugging Face cache holds links into blobs/."""
    blobs = base.parent / "blobs"
    base.rename(blobs)
    base.mkdir()
    for file in blobs.iterdir():
        (base / file.name).symlink_to(Path("../blobs") / file.name)
    folder = merged(base, adapter())
    assert not [file for file in folder.rglob("*") if file.is_symlink()]
    assert (folder / "tokenizer_config.json").read_bytes() == (blobs / "tokenizer_config.json").read_bytes()
    for file in blobs.glob("*.safetensors"):
        assert (folder / file.name).stat().st_size == file.stat().st_size
