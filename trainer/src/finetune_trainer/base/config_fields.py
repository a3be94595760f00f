"""What the fields of a config.json mean to the trainer, a table each."""

import re
from collections.abc import Mapping
from typing import Any

_UNTIE = "vLLM reads no tied head of these models: save the base untied, with an lm_head.weight of its own"
FIXED: Mapping[str, tuple[Any, str]] = {
    "attention_bias": (False, "The biases of the attention would be left out: use a base without them"),
    "mlp_bias": (False, "The biases of the MLPs would be left out: use a base without them"),
    "lm_head_bias": (False, "The head's bias would be left out: use a base without it"),
    "tie_word_embeddings": (False, _UNTIE),
    "hidden_act": ("silu", "Use a base of DeepSeek's own activation"),
    "moe_layer_freq": (1, "Every layer after the dense ones has experts here: use such a base"),
    "rope_interleave": (True, "Permute the projections' rotary rows to DeepSeek's pairs, and say true"),
    "attention_dropout": (0, "Set it to 0: no dropout of attention is computed here"),
    "is_encoder_decoder": (False, "Use a decoder"),
    "add_cross_attention": (False, "Use a decoder without cross attention"),
}
"""Fields of one value in every family, with what to do about another one."""

_TRAINING_AND_SAVING = """
_attn_implementation _attn_implementation_autoset _experts_implementation _name_or_path architectures auto_map
aux_loss_alpha bad_words_ids begin_suppress_tokens bos_token_id chunk_size_feed_forward
cross_attention_hidden_size decoder_start_token_id diversity_penalty do_sample dtype early_stopping
encoder_no_repeat_ngram_size eos_token_id ep_size exponential_decay_length_penalty finetuning_task
forced_bos_token_id forced_eos_token_id id2label initializer_range is_decoder label2id length_penalty
max_length min_length no_repeat_ngram_size num_beam_groups num_beams num_return_sequences output_attentions
output_hidden_states output_router_logits output_scores pad_token_id prefix pretraining_tp problem_type
pruned_heads remove_invalid_values repetition_penalty return_dict return_dict_in_generate
router_aux_loss_coef sep_token_id seq_aux suppress_tokens task_specific_params temperature tf_legacy_loss
tokenizer_class top_k top_p torch_dtype torchscript transformers_version typical_p unsloth_fixed
unsloth_version use_bfloat16 use_cache
"""
CHANGES_NOTHING = frozenset(
    {
        *_TRAINING_AND_SAVING.split(),
        # The context that the base was made for; a scaled rope has a field of its own for it.
        "max_position_embeddings",
        "model_max_length",
        # Layers for multi-token prediction come after the last one; they are carried, not trained.
        "num_nextn_predict_layers",
        "num_mtp_layers",
    }
)
"""Fields without a part in a forward pass."""

# Beginnings of words, as they are used for parts of models in transformers' configurations.
COMPUTES = re.compile(
    r"(?:^|_)(?:act|adapter|attn|attention|bias|cap|chunk|clip|compress|conv|cross|dense|dim|dropout|embd|embed|"
    r"expert|ffn|freq|gate|gating|group|hash|hc|head|hidden|index|intermediate|kv|layer|linear|logit|lora|mamba|"
    r"mhc|mixer|mixture|mlp|moe|mscale|mtp|mult|multiplier|norm|num_memory|position|q|qk|query|rank|ratio|"
    r"resid|residual|rope|rotary|rout|scal|score|scoring|shared|sink|size|sliding|softcap|softmax|sparse|ssm|swa|"
    r"swiglu|theta|topk|v|vision|vocab|window|yarn)"
)
