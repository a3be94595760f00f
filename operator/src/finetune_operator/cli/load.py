"""A load of chats against an OpenAI-compatible server: so many at a time, each answer streamed."""

import asyncio
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import aiohttp

from finetune_operator.cli.load_figures import Figures, Request, figures_of
from finetune_operator.local.errors import LocalError

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=300)
_SYLLABLES = ("ba", "co", "di", "fu", "ka", "le", "mi", "no", "pe", "ra", "se", "ti", "vo", "wu")


@dataclass(frozen=True, kw_only=True)
class Load:
    """Whom to ask, and what."""

    url: str
    model: str
    input_tokens: int
    output_tokens: int
    key: str | None = field(default=None, repr=False)

    async def run(self, concurrency: int, requests: int) -> Figures:
        """Return what so many requests came to, after one for each at a time that are not counted.

        Raises LocalError when none is answered.
        """
        connector = aiohttp.TCPConnector(limit=concurrency)
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        async with aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT, headers=headers) as session:
            words = await self._words(session)
            seed = time.time_ns()  # anew at each run: the server keeps prefixes that it has read
            texts = [_text(words, seed + number) for number in range(concurrency + requests)]
            await self._ask_all(session, texts[:concurrency], concurrency)
            started = time.perf_counter()
            asked = await self._ask_all(session, texts[concurrency:], concurrency)
            seconds = time.perf_counter() - started
        if all(request.failure for request in asked):
            raise LocalError(f"{self.url} answered no request: {asked[0].failure}", "see the server's log")
        return figures_of(concurrency, asked, seconds)

    async def _ask_all(
        self, session: aiohttp.ClientSession, texts: Sequence[str], concurrency: int
    ) -> list[Request]:
        """Ask in order, the next one as soon as one is answered."""
        waiting: Iterator[str] = iter(texts)

        async def client() -> list[Request]:
            return [await self._ask(session, text) for text in waiting]

        done = await asyncio.gather(*(client() for _ in range(concurrency)))
        return [request for requests in done for request in requests]

    async def _ask(self, session: aiohttp.ClientSession, text: str) -> Request:
        """Return one chat's times; of one that fails, why."""
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": text}],
            "max_tokens": self.output_tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        sent = time.perf_counter()
        try:
            async with session.post(f"{self.url}/v1/chat/completions", json=body) as response:
                if response.status != 200:
                    said = (await response.text())[:300]
                    return Request(sent=sent, failure=f"the server answers {response.status}: {said}")
                return await _read(response, sent)
        except (TimeoutError, aiohttp.ClientError) as error:
            return Request(sent=sent, failure=str(error) or type(error).__name__)

    async def _words(self, session: aiohttp.ClientSession) -> int:
        """Return how many words make a chat of the tokens that are wanted, by the server's own tokenizer.

        Without one (vLLM's /tokenize), a token a word; what was really read is in the figures.
        """
        few, many = 16, 16 + self.input_tokens
        counts = [await self._count(session, _text(words, 0)) for words in (few, many)]
        if None in counts or counts[1] <= counts[0]:  # type: ignore[operator]
            return self.input_tokens
        per_word = (counts[1] - counts[0]) / (many - few)  # type: ignore[operator]
        return max(1, round(few + (self.input_tokens - counts[0]) / per_word))  # type: ignore[operator]

    async def _count(self, session: aiohttp.ClientSession, text: str) -> int | None:
        body = {"model": self.model, "messages": [{"role": "user", "content": text}]}
        try:
            async with session.post(f"{self.url}/tokenize", json=body) as response:
                count = (await response.json()).get("count") if response.status == 200 else None
                return count if isinstance(count, int) else None
        except (TimeoutError, aiohttp.ClientError, ValueError):
            return None


async def _read(response: aiohttp.ClientResponse, sent: float) -> Request:
    """Read server-sent events. Only a stream's ends are looked into: a client that parses every piece is
    slower than the server.

    vLLM sends the role when it has the first token, just before that token; a token without text it does
    not send.
    """
    begun, times = 0.0, []
    last, usage = b"", b""
    async for line in response.content:
        if not line.startswith(b"data: {"):
            continue
        now, last = time.perf_counter(), line
        if b'"choices":[]' in line:
            usage = line
        elif begun or b'"role"' not in line:
            times.append(now)
        begun = begun or now
    if b'"error"' in last or not times:
        said = last.removeprefix(b"data: ").decode(errors="replace").strip()
        return Request(sent=sent, failure=said[:300] or "the answer had no token")
    counts = json.loads(usage.removeprefix(b"data: "))["usage"] if usage else {}
    return Request(
        sent=sent,
        tokens_at=(begun, *(times[1:] or times)),
        input_tokens=counts.get("prompt_tokens", 0),
        output_tokens=counts.get("completion_tokens", len(times)),
    )


def _text(words: int, seed: int) -> str:
    """Return words that no other seed has in this order."""
    numbers = random.Random(seed)
    return " ".join("".join(numbers.choices(_SYLLABLES, k=2)) for _ in range(words))
