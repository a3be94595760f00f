"""What was served, beside what a model reads in the same texts."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a model says of a text: after each token but the last, the likeliest next one, and of the real one
    the log probability."""

    likeliest: list[int]
    logprobs: list[float]


def reading_of(logits: torch.Tensor, text: list[int]) -> Reading:
    """logits: after each token of the text but the last."""
    following = torch.tensor(text[1:], device=logits.device)
    logprobs = logits.log_softmax(-1).gather(1, following[:, None])[:, 0]
    return Reading(likeliest=logits.argmax(-1).tolist(), logprobs=logprobs.tolist())


class Answers:
    """Of servers' models, each with the weights that it should be of."""

    def __init__(self, answered: Sequence[str], tokens: Path) -> None:
        """answered: FILE=MODEL=VARIANT each."""
        self._answered = [(Path(file), model, variant) for file, model, variant in map(_split, answered)]
        self._served = {file: json.loads(file.read_text()) for file, _, _ in self._answered}
        self._tokens = json.loads(tokens.read_text())

    @property
    def texts(self) -> list[list[int]]:
        """The chats, and for each model the prompts with its greedy answers."""
        texts: list[list[int]] = [*self._tokens["chats"]]
        for file, model, _ in self._answered:
            greedy = self._served[file][f"greedy {model}"]
            texts += [p + a["tokens"] for p, a in zip(self._tokens["prompts"], greedy, strict=True)]
        return texts

    def compared(
        self, readings: Mapping[str, list[Reading]], against: Callable[[str], Sequence[str]]
    ) -> dict[str, Any]:
        """readings: of `texts`, by variant. against: those with which a model of a variant is compared."""
        result: dict[str, Any] = {}
        chats, count = len(self._tokens["chats"]), len(self._tokens["prompts"])
        for place, (file, model, variant) in enumerate(self._answered):
            own, of_model = slice(chats + place * count, chats + (place + 1) * count), f"{file.stem}: {model}"
            for name in dict.fromkeys(against(variant)):
                figures = compare(self._served[file], model, readings[name][own], readings[name][:chats])
                result.setdefault(of_model, {})[f"against {name}"] = figures
        return result


def _split(answers: str) -> tuple[str, str, str]:
    file, model, variant = answers.split("=")
    return file, model, variant


def compare(
    served: Mapping[str, Any], model: str, greedy: list[Reading], chats: list[Reading]
) -> dict[str, Any]:
    """A served model's greedy tokens and log probabilities against transformers'."""
    answers = served[f"greedy {model}"]
    likeliest = [r.likeliest[-len(answer["tokens"]) :] for r, answer in zip(greedy, answers, strict=True)]
    equal = [
        mine == theirs
        for answer, row in zip(answers, likeliest, strict=True)
        for mine, theirs in zip(answer["tokens"], row, strict=True)
    ]
    apart = [
        abs(mine - theirs)
        for answer, reading in zip(answers, greedy, strict=True)
        for mine, theirs in zip(answer["logprobs"], reading.logprobs[-len(answer["logprobs"]) :], strict=True)
    ]
    ours = torch.tensor([value for chat in served[f"chats {model}"] for value in chat])
    theirs = torch.tensor([value for reading in chats for value in reading.logprobs])
    return {
        "greedyTokens": len(equal),
        "equalGreedyShare": round(sum(equal) / len(equal), 4),
        "meanGreedyLogprobGap": round(sum(apart) / len(apart), 4),
        "chatTokens": len(ours),
        "servedNll": round(-float(ours.mean()), 4),
        "referenceNll": round(-float(theirs.mean()), 4),
        "meanChatLogprobGap": round(float((ours - theirs).abs().mean()), 4),
        "medianChatLogprobGap": round(float((ours - theirs).abs().median()), 4),
    }
