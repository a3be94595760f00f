"""Who asks a server all the time: short chats, each by a connection of its own, and long streams."""

import json
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

CHAT_TOKENS, FIRST_TOKENS, MOST_TOKENS = 2, 100, 15_000
REST_SECONDS = 0.1
"""Between chats of one client: the server that starts needs the same CPUs as the one that answers."""


@dataclass(kw_only=True)
class Clients:
    """`url` of chat completions. What did not end well is told by its problem."""

    url: str
    model: str
    stream_seconds: float
    """How long a stream is to take, by what a token took in the one before it."""
    answered: int = 0
    streams: list[float] = field(default_factory=list)
    """Seconds of each that came whole."""
    tokens_per_second: float | None = None
    """Of the newest stream."""
    problems: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def asking(self, *, chats: int, streams: int) -> Iterator[None]:
        """Until the end of the block, and until what is open then is answered."""
        done = threading.Event()
        whats: list[Callable[[], None]] = [self._chat] * chats + [self._stream] * streams
        threads = [threading.Thread(target=self._repeat, args=(done, what)) for what in whats]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            done.set()
            for thread in threads:
                thread.join()

    def _repeat(self, done: threading.Event, ask: Callable[[], None]) -> None:
        while not done.is_set():
            try:
                ask()
            except (OSError, ValueError) as problem:  # refused, broken off, cut short
                self.problems[f"{type(problem).__name__}: {problem}"] += 1

    def _chat(self) -> None:
        with self._ask({"max_tokens": CHAT_TOKENS}) as answer:
            json.load(answer)["choices"][0]["message"]["content"]
        self.answered += 1
        time.sleep(REST_SECONDS)

    def _stream(self) -> None:
        """Whole when every token came, and then the end."""
        begin, rate = time.monotonic(), self.tokens_per_second
        tokens = min(int(rate * self.stream_seconds), MOST_TOKENS) if rate else FIRST_TOKENS
        wanted = {"max_tokens": tokens, "ignore_eos": True, "stream": True}
        with self._ask(wanted | {"stream_options": {"include_usage": True}}) as answer:
            events = [line.removeprefix(b"data: ") for line in map(bytes.strip, answer) if line]
        if events[-1] != b"[DONE]":
            raise ValueError(f"a stream ended with {events[-1].decode()}")
        if (came := json.loads(events[-2])["usage"]["completion_tokens"]) != tokens:
            raise ValueError(f"a stream of {tokens} tokens ended after {came}")
        self.streams.append(time.monotonic() - begin)
        self.tokens_per_second = tokens / self.streams[-1]

    def _ask(self, how: dict[str, Any]) -> Any:
        messages = [{"role": "user", "content": "What does a FineTuneJob do?"}]
        body = json.dumps({"model": self.model, "messages": messages, "temperature": 0} | how).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
        return urllib.request.urlopen(request, timeout=600)
