"""LLaMA-Factory's tokenizing of a file of chats, for prepare_data.py: run by an interpreter that has it.

`python bench/prepare_data_llama_factory.py BASE FILE LENGTH PROCESSES` prints seconds, tokens and peak MiB.
"""

import json
import os
import resource
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

os.environ |= {"HF_HUB_OFFLINE": "1", "DISABLE_VERSION_CHECK": "1"}
_TAGS = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}


def main() -> None:
    base, file, length, processes = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    import peft  # noqa: F401 - it looks for what is installed, and so must come before the stand-in

    # LLaMA-Factory imports it, for audio only, and the registry's build does not fit the registry's torch.
    sys.modules["torchaudio"] = ModuleType("torchaudio")
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
    from llamafactory.hparams import DataArguments, ModelArguments
    from transformers import PreTrainedTokenizerFast, Seq2SeqTrainingArguments

    with tempfile.TemporaryDirectory() as folder:
        os.environ["HF_DATASETS_CACHE"] = folder
        described = {"file_name": file.name, "formatting": "sharegpt", "columns": {"messages": "messages"}}
        info = {"chats": described | {"tags": _TAGS}}
        (file.parent / "dataset_info.json").write_text(json.dumps(info))
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_file=str(base / "tokenizer.json"),
            bos_token="<bos>",
            eos_token="<eos>",
            pad_token="<eos>",
        )
        model = ModelArguments(model_name_or_path=str(base), cache_dir=folder)
        data = DataArguments(
            template="default",
            dataset="chats",
            dataset_dir=str(file.parent),
            cutoff_len=length,
            preprocessing_num_workers=processes if processes > 1 else None,
            overwrite_cache=True,
        )
        training = Seq2SeqTrainingArguments(output_dir=folder, report_to=[], use_cpu=True)
        template = get_template_and_fix_tokenizer(tokenizer, data)
        start, cpu_start = time.perf_counter(), _cpu_seconds()
        module = get_dataset(template, model, data, training, stage="sft", tokenizer=tokenizer)
        seconds, cpu_seconds = time.perf_counter() - start, _cpu_seconds() - cpu_start
        tokens = sum(len(row) for row in module["train_dataset"]["input_ids"])
    peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    told = {
        "seconds": round(seconds, 1),
        "cpuSeconds": round(cpu_seconds, 1),
        "tokens": tokens,
        "peakMemoryMiB": round(max(peaks) / 2**10),
    }
    print(json.dumps(told | {"version": version("llamafactory")}))


def _cpu_seconds() -> float:
    """Of this process and those that it has waited for."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main()
