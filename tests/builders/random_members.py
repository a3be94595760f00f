"""Random members of the families: other numbers than any published model has, at tiny sizes."""

from typing import Any

from hypothesis import strategies as st
from random_families import FAMILIES, YARN


@st.composite
def members(draw: st.DrawFn) -> dict[str, Any]:
    """A config.json of one of the families, with other numbers."""
    family = dict(FAMILIES[draw(st.sampled_from(sorted(FAMILIES)))])
    layers, heads = draw(st.integers(1, 3)), draw(st.sampled_from([1, 3, 4]))
    groups, of_a_group = (
        (draw(st.integers(1, 3)), draw(st.integers(2, 5))) if family["n_group"] > 1 else (1, 0)
    )
    experts = groups * of_a_group or draw(st.integers(2, 11))
    top_groups = draw(st.integers(1, groups))
    dense = draw(st.integers(0, layers - 1))
    if family["model_type"] == "glm4_moe_lite":  # transformers takes one where no list says it
        layers, dense = max(layers, 2), 1
    return family | {
        "vocab_size": draw(st.integers(65, 200)),
        # transformers' DeepSeek-V2 wants a multiple of the heads.
        "hidden_size": heads * draw(st.sampled_from([16, 24])),
        "num_hidden_layers": layers,
        "first_k_dense_replace": dense,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "q_lora_rank": draw(st.sampled_from([None, 8, 40])),
        "kv_lora_rank": draw(st.sampled_from([8, 40])),
        "qk_nope_head_dim": draw(st.sampled_from([8, 24])),
        "qk_rope_head_dim": draw(st.sampled_from([4, 16])),
        "v_head_dim": draw(st.sampled_from([8, 24])),
        "moe_intermediate_size": draw(st.sampled_from([8, 24])),
        "n_routed_experts": experts,
        "n_shared_experts": draw(st.integers(1, 3)),
        "num_experts_per_tok": draw(st.integers(1, experts // groups * top_groups)),
        "n_group": groups,
        "topk_group": top_groups,
        "routed_scaling_factor": draw(st.sampled_from([0.5, 1.0, 2.5])),
        "rms_norm_eps": draw(st.sampled_from([1e-6, 1e-5])),
        "rope_scaling": draw(st.sampled_from([None, YARN, YARN | {"factor": 4, "mscale": 0.7}])),
        "num_nextn_predict_layers": draw(st.integers(0, 2)),
    }
