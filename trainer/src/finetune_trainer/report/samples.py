"""Samples side by side: to each prompt the answers before training, of the exported step, and the last."""

from dataclasses import dataclass

ENDS = {"stop": "", "length": "cut at maxTokens", "time": "cut at maxSeconds"}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a step answers, and what cut it off."""

    when: str
    text: str
    cut: str


@dataclass(frozen=True, kw_only=True)
class Answers:
    """To one prompt."""

    prompt: str
    answers: tuple[Answer, ...]


def side_by_side(samples: dict[int, list[dict[str, str]]], exported: int | None) -> list[Answers]:
    """The first step with samples, the exported one if it has some, and the last."""
    shown = {step: _name(step, exported) for step in _steps(sorted(samples), exported)}
    prompts = [sample["prompt"] for sample in next(iter(samples.values()), [])]
    return [
        Answers(
            prompt=prompt,
            answers=tuple(
                Answer(when=name, text=sample["text"], cut=ENDS.get(sample["end"], ""))
                for step, name in shown.items()
                for sample in samples[step][number : number + 1]
            ),
        )
        for number, prompt in enumerate(prompts)
    ]


def _steps(steps: list[int], exported: int | None) -> list[int]:
    return [step for step in steps if step in (steps[0], exported, steps[-1])]


def _name(step: int, exported: int | None) -> str:
    name = "before training" if step == 0 else f"step {step:,}"
    return f"{name}, exported" if step == exported else name
