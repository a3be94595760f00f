"""What every mistake that one line explains has in common."""


class FinetuneError(Exception):
    """What is wrong and what to do; the CLI prints it and ends with exit code 2."""
