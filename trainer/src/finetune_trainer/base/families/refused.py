"""Models that look like these and are not trained here, by their `model_type`, each with the reason."""

_SPARSE = "its attention reads the tokens that an indexer picks, and no indexer is computed here"
_SEES = "it reads images too; only language models are trained here"

REFUSED = {
    "deepseek_v32": f"DeepSeek-V3.2: {_SPARSE}",
    "glm_moe_dsa": f"GLM-5: {_SPARSE}",
    "glm5_next": f"GLM-5-Next: {_SEES}",
    "deepseek_v4": "DeepSeek-V4: it compresses keys and values over tokens and mixes residual streams",
    "deepseek_v41": "DeepSeek-V4.1: it compresses keys and values over tokens and mixes residual streams",
    "kimi_linear": "Kimi-Linear: most of its layers have linear attention (KDA)",
    "kimi_k25": f"Kimi-K2.5: {_SEES}",
    "kimi_vl": f"Kimi-VL: {_SEES}",
    "deepseek_vl_v2": f"DeepSeek-VL2: {_SEES}",
    "longcat_flash": "LongCat-Flash: two attentions a layer, and experts that compute nothing",
    "glm4_moe": "GLM-4.5 and GLM-4.7: their attention is grouped, not latent",
    "mistral4": "Mistral-Small-4: its queries are scaled by their position",
    "youtu": "Youtu-LLM: none of its layers has experts",
    "minicpm3": "MiniCPM3: none of its layers has experts",
    "axk1": "A.X-K1: it norms the output of its feed-forward layers too",
    "bailing_hybrid": "Ling and Ring 2.5: most of their layers have linear attention",
}
