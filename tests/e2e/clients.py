"""Who asks a server all the time: short chats, each by a connection of its own, and long streams."""

import json
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

CHAT_TOKENS, FIRST_TOKENS, MOST_TOKENS = 2, 100, 15_000
REST_SECONDS = 0.1
"""Between chats of one client: the server that starts needs the same CPUs as the one that answers."""


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One that came whole: when it was opened and when it ended, by the monotonic clock."""

    opened: float
    ended: float
    tokens: int

    @property
    def seconds(self) -> float:
        return self.ended - self.opened


@dataclass(kw_only=True)
class Clients:
    """`url` of chat completions. What did not end well is told by its problem."""

    url: str
    model: str
    answered: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    lost_at: list[float] = field(default_factory=list)
    """By the monotonic clock."""

    @contextmanager
    def chatting(self, clients: int) -> Iterator[None]:
        """One chat after the other, until the end of the block, and until what is open then is answered."""
        done = threading.Event()

        def chat() -> None:
            while not done.is_set():
                with self._telling():
                    self._chat()

        threads = [threading.Thread(target=chat) for _ in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            done.set()
            for thread in threads:
                thread.join()

    @contextmanager
    def streaming(self, streams: int, *, seconds: float) -> Iterator[list[Stream]]:
        """As many at a time, one after the other until the end of the block, each in the list once whole.

        Each takes as long by what a token took in the one before it.
        """
        whole: list[Stream] = []
        done = threading.Event()

        def stream() -> None:
            with self._telling():
                last = self.stream(FIRST_TOKENS)
                while not done.is_set():
                    last = self.stream(min(int(last.tokens / last.seconds * seconds), MOST_TOKENS))
                    whole.append(last)

        threads = [threading.Thread(target=stream) for _ in range(streams)]
        for thread in threads:
            thread.start()
        try:
            yield whole
        finally:
            done.set()
            for thread in threads:
                thread.join()

    def stream(self, tokens: int) -> Stream:
        """Whole when every token came, and then the end. Raises ValueError, or OSError."""
        opened = time.monotonic()
        wanted = {"max_tokens": tokens, "ignore_eos": True, "stream": True}
        with self._ask(wanted | {"stream_options": {"include_usage": True}}) as answer:
            events = [line.removeprefix(b"data: ") for line in map(bytes.strip, answer) if line]
        if events[-1] != b"[DONE]":
            raise ValueError(f"a stream ended with {events[-1].decode()}")
        if (came := json.loads(events[-2])["usage"]["completion_tokens"]) != tokens:
            raise ValueError(f"a stream of {tokens} tokens ended after {came}")
        return Stream(opened=opened, ended=time.monotonic(), tokens=tokens)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as problem:  # refused, broken off, cut short
            self.problems[f"{type(problem).__name__}: {problem}"] += 1
            self.lost_at.append(time.monotonic())

    def _chat(self) -> None:
        with self._ask({"max_tokens": CHAT_TOKENS}) as answer:
            json.load(answer)["choices"][0]["message"]["content"]
        self.answered += 1
        time.sleep(REST_SECONDS)

    def _ask(self, how: dict[str, Any]) -> Any:
        messages = [{"role": "user", "content": "What does a FineTuneJob do?"}]
        body = json.dumps({"model": self.model, "messages": messages, "temperature": 0} | how).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
        return urllib.request.urlopen(request, timeout=600)
