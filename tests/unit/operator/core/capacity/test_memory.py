"""GPU and host memory, against what was measured and what is published (docs/guides/fits.md)."""

from dataclasses import replace
from typing import Any

import pytest

from finetune_operator.core.capacity.architecture import FLAVORS
from finetune_operator.core.capacity.conversion import volume_bytes
from finetune_operator.core.capacity.serving import Serving, kv_bytes_per_token, serving_memory
from finetune_operator.core.capacity.training import Layout, Training, training_memory
from finetune_operator.core.capacity.weights import training_stages

GIB = 2**30
# Its logits are there at once, in float32 and with log-softmax and gradient: its loss is not compiled.
PEFT = {"logits_tokens": 2**40, "logit_bytes": 3 * 4}
PRODUCTS = {"frozen": "float8", "float8_products": True}
LARGE = Training(
    model=FLAVORS["671B_lora"],
    layout=Layout(processes=32, expert=8),
    frozen="bfloat16",
    compute="bfloat16",
    targets=["attention"],
    rank=16,
    sequence_length=4096,
    micro_batch_size=1,
    recompute="full",
)
ONE_GPU = replace(LARGE, model=FLAVORS["deepseek_aghilora"], layout=Layout(processes=1), recompute="none")
DEBUG_FLOAT8: dict[str, Any] = {"frozen": "float8", "recompute": "full"}
UNEVEN = "unevenly loaded experts"
SERVED = Serving(model=FLAVORS["671B_lora"], weights="float8", tensor=8, length=8192)
# In MB: CUDA and NCCL, activations, graphs.
LARGE_OVERHEAD = (3610, 1207, 6015)
ONE_H200 = Serving(
    model=replace(FLAVORS["deepseek_aghilora"], num_nextn_predict_layers=1), weights="float8", length=8192
)


@pytest.mark.parametrize(
    ("changes", "measured_gib", "error"),
    [
        pytest.param({"micro_batch_size": 2}, 34.33, 0.01, id="batch 2"),
        pytest.param({"micro_batch_size": 4}, 40.57, 0.02, id="batch 4"),
        pytest.param({"micro_batch_size": 6}, 46.50, 0.01, id="batch 6"),
        pytest.param({"micro_batch_size": 2, "recompute": "full"}, 30.74, 0.01, id="recomputing"),
        pytest.param({"micro_batch_size": 2, "frozen": "float8"}, 24.29, 0.03, id="FP8"),
        pytest.param(
            {"micro_batch_size": 2, "frozen": "float8", "recompute": "full"}, 20.76, 0.03, id="both"
        ),
        pytest.param({**PRODUCTS, "micro_batch_size": 2}, 23.08, 0.01, id="FP8 products, batch 2"),
        pytest.param({**PRODUCTS, "micro_batch_size": 6}, 35.57, 0.02, id="FP8 products, batch 6"),
        pytest.param(
            {**PRODUCTS, "float8_head": True, "micro_batch_size": 6}, 34.73, 0.02, id="the head too, batch 6"
        ),
        pytest.param(
            {**PRODUCTS, "float8_head": True, "micro_batch_size": 10},
            48.58,
            0.01,
            id="the head too, batch 10",
        ),
        pytest.param({"micro_batch_size": 10}, 61.23, 0.01, id="batch 10"),
        pytest.param(
            {"micro_batch_size": 2, "targets": ["attention", "experts"], "dropout": True},
            38.92,
            0.01,
            id="experts adapted too, with dropout",
        ),
        pytest.param(
            {"micro_batch_size": 1, "sequence_length": 32_768}, 54.2, 0.01, id="a sequence of 32,768"
        ),
        pytest.param({**PEFT, "micro_batch_size": 2}, 45.50, 0.04, id="PEFT, batch 2"),
        pytest.param({**PEFT, "micro_batch_size": 4}, 64.91, 0.05, id="PEFT, batch 4"),
        pytest.param(
            {**PEFT, "micro_batch_size": 2, "recompute": "full"}, 38.35, 0.01, id="PEFT, recomputing"
        ),
    ],
)
def test_training_is_near_what_was_measured(
    changes: dict[str, Any], measured_gib: float, error: float
) -> None:
    """bench/results/*-full-width.json: peaks of the allocator on an H100."""
    needed = sum(training_memory(replace(ONE_GPU, **changes)).values())
    assert needed / GIB == pytest.approx(measured_gib, rel=error)


@pytest.mark.parametrize(
    ("degrees", "changes", "measured_gib", "error"),
    [
        pytest.param({}, {}, 62.02, 0.04, id="FSDP"),
        pytest.param({"resident": True}, {}, 34.41, 0.02, id="a base that stays"),
        pytest.param({"replicate": 2}, {}, 34.43, 0.02, id="two copies"),
        pytest.param({"expert": 2}, {}, 23.29, 0.01, id="EP"),
        pytest.param({"expert": 2, "resident": True}, {}, 24.05, 0.03, id="EP, and a base that stays"),
        pytest.param({"tensor": 2}, {}, 19.57, 0.02, id="TP"),
        pytest.param({"pipeline": 2}, {"micro_batches": 2}, 29.37, 0.03, id="PP"),
    ],
)
def test_training_on_two_gpus_is_near_what_was_measured(
    degrees: dict[str, int], changes: dict[str, Any], measured_gib: float, error: float
) -> None:
    """bench/results/2026-11-28-several-gpus.json: the rank with the higher peak, of two H200."""
    two = replace(ONE_GPU, layout=Layout(processes=2, **degrees), micro_batch_size=2)
    parts = training_memory(replace(two, **changes))
    needed = sum(parts.values()) - parts.get(UNEVEN, 0)  # experts of theirs had as many tokens
    assert needed / GIB == pytest.approx(measured_gib, rel=error)


@pytest.mark.parametrize(
    ("layout", "measured_gib"),
    [
        pytest.param(Layout(processes=1), 58.7, id="one rank"),
        pytest.param(Layout(processes=2, context=2, expert=2), 36.93, id="two, by context and experts"),
    ],
)
def test_a_sequence_of_65536_tokens_is_within_5_percent_of_what_was_measured(
    layout: Layout, measured_gib: float
) -> None:
    """bench/results/2026-11-29-several-ranks-of-one-gpu.json: the allocator's peak, FP8 dequantised."""
    long = replace(ONE_GPU, layout=layout, sequence_length=65_536, frozen="float8", recompute="full")
    parts = training_memory(long)
    needed = sum(parts.values()) - parts.get(UNEVEN, 0)  # the fuller rank had 1.004 times the mean's tokens
    assert needed / GIB == pytest.approx(measured_gib, rel=0.05)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, [41_939, 6_569, 48, 3_758, 3_179, 429], id="FSDP and EP"),
        pytest.param(
            {"recompute": "selective"}, [41_939, 6_569, 48, 102_947, 3_179, 429], id="selective recompute"
        ),
        pytest.param(
            {"frozen": "float8"}, [21_035, 3_289, 48, 939, 3_758, 3_179, 429], id="a frozen base in FP8"
        ),
        pytest.param(
            {"layout": Layout(processes=32, replicate=4, expert=8), "frozen": "float8"},
            [84_143, 1_167, 194, 939, 3_758, 3_179, 429],
            id="a copy in each node, in FP8",
        ),
        pytest.param(
            {"layout": Layout(processes=32, expert=8, tensor=8)},
            [42_389, 5_813, 388, 469, 397, 53],
            id="tensor parallelism",
        ),
        pytest.param(
            {"layout": Layout(processes=32, expert=8, pipeline=4), "micro_batches": 4},
            [46_029, 7_455, 50, 2_818, 3_179, 429],
            id="a pipeline keeps a stage whole, but for experts, which stay",
        ),
        pytest.param(
            {"layout": Layout(processes=32, expert=8, pipeline=2), "micro_batches": 2},
            [43_268, 100_389, 47, 1_937, 3_179, 429],
            id="a pipeline keeps a stage whole, embeddings too",
        ),
        pytest.param(
            {"layout": Layout(processes=8, expert=8, resident=True), "frozen": "float8"},
            [100_838, 0, 194, 939, 3_758, 3_179, 429],
            id="a base that stays where it is",
        ),
        pytest.param(
            {"layout": Layout(processes=32, expert=8, context=8), "sequence_length": 131_072},
            [41_939, 6_569, 48, 15_032, 41_676, 1_717],
            id="128k tokens by context parallelism",
        ),
        pytest.param({"layout": Layout(processes=1)}, [1_342_050, 0, 1552, 3_758, 2_240], id="one GPU"),
    ],
)
def test_training_memory(changes: dict[str, Any], expected: list[int]) -> None:
    """In MB: frozen base, gathered layers, what is trained, (FP8 dequantised,) activations, what works."""
    parts = training_memory(replace(LARGE, **changes))
    assert [part // 1_000_000 for part in parts.values()] == expected


@pytest.mark.parametrize(
    ("layers", "pipeline", "expected"),
    [
        pytest.param(61, 1, [(3, 58, True, True, 0)], id="no pipeline"),
        pytest.param(2, 2, [(1, 0, True, False, 1), (0, 1, False, True, 0)], id="two layers"),
        pytest.param(
            61,
            4,
            [
                (3, 12, True, False, 3),
                (0, 16, False, False, 2),
                (0, 16, False, False, 1),
                (0, 14, False, True, 0),
            ],
            id="four stages",
        ),
    ],
)
def test_stages_are_those_of_torchtitan(layers: int, pipeline: int, expected: list[Any]) -> None:
    model = replace(LARGE.model, num_hidden_layers=layers, first_k_dense_replace=3 if layers > 3 else 1)
    stages = training_stages(model, pipeline)
    found = [(s.layers[0][1], s.layers[1][1], s.embedding, s.head, s.following) for s in stages]
    assert found == expected


def test_the_kv_cache_of_a_token_is_as_published() -> None:
    """DeepSeek (arXiv 2505.09343) says 70.272 KB; vLLM's log says 41.60 GiB for 635,648 tokens."""
    assert kv_bytes_per_token(SERVED) == 70_272
    assert kv_bytes_per_token(SERVED) == pytest.approx(41.60 * GIB / 635_648, rel=1e-4)
    assert kv_bytes_per_token(replace(SERVED, cache="float8")) == 35_136


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, [85_393, 575, *LARGE_OVERHEAD], id="TP=8"),
        pytest.param({"weights": "bfloat16"}, [169_814, 575, *LARGE_OVERHEAD], id="bfloat16"),
        pytest.param(
            {"weights": "bfloat16", "pipeline": 2}, [90_463, 292, *LARGE_OVERHEAD], id="bfloat16 and PP=2"
        ),
        pytest.param({"length": None}, [85_393, 11_513, *LARGE_OVERHEAD], id="the model's own length"),
        pytest.param({"graphs": False}, [85_393, 575, *LARGE_OVERHEAD[:2]], id="no graphs"),
        pytest.param(
            {"batched_tokens": 16_384}, [85_393, 575, 3610, 2415, LARGE_OVERHEAD[2]], id="larger batches"
        ),
    ],
)
def test_serving_memory(changes: dict[str, Any], expected: list[int]) -> None:
    """In MB: weights, KV cache of one longest request, what is kept beside them."""
    parts = serving_memory(replace(SERVED, **changes))
    assert [part // 1_000_000 for part in parts.values()] == expected


def test_weights_of_vllm_are_within_1_percent_of_its_log() -> None:
    """vLLM 0.11.2, DeepSeek-R1-0528, TP=8 on H200: "Model loading took 79.7390 GiB"."""
    assert serving_memory(SERVED)["weights in float8"] / GIB == pytest.approx(79.739, rel=0.01)


@pytest.mark.parametrize(
    ("draft", "loaded", "cache", "tokens"),
    [
        pytest.param(False, 14.8, 96.14, 44_806_800, id="the model"),
        pytest.param(True, 25.75, 94.96, 29_502_848, id="with the multi-token layer as draft"),
    ],
)
def test_two_layers_are_within_1_percent_of_what_vllm_logged_on_an_h200(
    draft: bool, loaded: float, cache: float, tokens: int
) -> None:
    """bench/results/2026-11-28-serve-gpu.json: GiB of weights, GiB of KV cache, and its tokens."""
    serving = replace(ONE_H200, draft=draft)
    assert serving_memory(serving)["weights in float8"] / GIB == pytest.approx(loaded, rel=0.01)
    assert kv_bytes_per_token(serving) == pytest.approx(cache * GIB / tokens, rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "outside_torch", "activations"),
    [
        pytest.param({}, 2.44, 15.23, id="graphs"),
        pytest.param({"graphs": False}, 2.44, 3.09, id="none"),
        pytest.param({"draft": True}, 2.56, 21.4, id="graphs and a draft"),
        pytest.param({"draft": True, "graphs": False}, 2.56, 5.34, id="a draft, no graphs"),
        pytest.param({"tensor": 2}, 2.36, 7.33, id="each of two GPUs"),
    ],
)
def test_what_vllm_keeps_beside_weights_and_cache_is_within_5_percent_of_its_log(
    changes: dict[str, Any], outside_torch: float, activations: float
) -> None:
    """bench/results/2026-11-28-serve-gpu-answers.json, of two 2026-11-28-serve-gpus-tensor.json: GiB; the
    estimate of graphs is in `activations`."""
    _, _, *kept = serving_memory(replace(ONE_H200, **changes)).values()
    assert sum(kept) / GIB == pytest.approx(outside_torch + activations, rel=0.05)


def test_without_graphs_tensor_parallelism_keeps_what_the_log_of_671b_leaves_unexplained() -> None:
    """vLLM 0.11.2, which set nothing aside for graphs: 4.5 GiB."""
    _, _, *kept = serving_memory(replace(SERVED, graphs=False)).values()
    assert sum(kept) / GIB == pytest.approx(4.5, rel=0.05)


def test_what_a_job_puts_into_its_volume() -> None:
    parts = volume_bytes(
        FLAVORS["671B_lora"], export="bfloat16", targets=["attention"], rank=16, checkpoints=3
    )
    assert {part: size // 1_000_000 for part, size in parts.items()} == {
        "base model in float8": 688_574,
        "merged model in bfloat16": 1_368_979,
        "checkpoints and adapter": 5044,
    }
