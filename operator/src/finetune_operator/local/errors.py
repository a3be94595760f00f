"""A mistake that one line explains."""

from finetune_operator.api.errors import FinetuneError


class LocalError(FinetuneError):
    """What is wrong and what to do; the CLI prints both and ends with exit code 2."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}. {remedy[:1].upper()}{remedy[1:]}")
        self.problem, self.remedy = problem, remedy
