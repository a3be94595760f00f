"""Build a small DeepSeek-V3-shaped language model: `python examples/tiny_base/build.py FOLDER`.

It learns for about a minute on two cores from Python's own documentation, in plain text and as chats.
Needs torch, transformers and tokenizers: the converter's environment has them.
"""

import os
import shutil
import sys
import time
from pathlib import Path

import torch
from architecture import CONFIG
from checkpoint import save_checkpoint
from corpus import Corpus, read_corpus
from tokenizer import ASSISTANT, BOS, EOS, USER, train_tokenizer
from training import train
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM, PreTrainedTokenizerFast

SEED, STEPS, THREADS = 7, 200, 2


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: build.py FOLDER")
    folder = Path(sys.argv[1])
    if folder.exists():
        print(f"{folder} is there already; delete it to build it again")
        return
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    build(partial)
    os.rename(partial, folder)
    print(f"built {folder}")


def build(folder: Path) -> None:
    torch.manual_seed(SEED)
    torch.set_num_threads(THREADS)
    corpus = read_corpus(SEED)
    tokenizer = train_tokenizer([*sum(corpus.chats, ()), *corpus.passages], CONFIG["vocab_size"])
    model = DeepseekV3ForCausalLM(DeepseekV3Config(**CONFIG))
    # Embeddings of unit scale, as torchtitan's DeepSeek-V3 begins: a short training goes much further.
    torch.nn.init.normal_(model.model.embed_tokens.weight)
    train(model, tokenized(corpus, tokenizer), STEPS, _Progress().report)
    save_checkpoint(model, CONFIG, folder)
    tokenizer.save_pretrained(folder)


def tokenized(corpus: Corpus, tokenizer: PreTrainedTokenizerFast) -> list[list[int]]:
    """The tokens of every document; each begins with BOS and ends with EOS."""
    chats = [f"{BOS}{USER}{question}{ASSISTANT}{answer}{EOS}" for question, answer in corpus.chats]
    passages = [f"{BOS}{passage}{EOS}" for passage in corpus.passages]
    return tokenizer(chats + passages, add_special_tokens=False)["input_ids"]


class _Progress:
    """Prints the mean loss every 20 steps."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.start = time.monotonic()

    def report(self, step: int, loss: float) -> None:
        self.losses.append(loss)
        if step % 20 == 0 or step == STEPS:
            recent = self.losses[-20:]
            seconds = time.monotonic() - self.start
            print(f"step {step}/{STEPS}  loss {sum(recent) / len(recent):.2f}  {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
