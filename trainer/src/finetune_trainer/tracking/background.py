"""A tracker told in a thread of its own, so that one that is away or slow stops no step."""

import logging
import os
from collections.abc import Callable, Mapping
from queue import Full, Queue
from threading import Thread

from finetune_trainer.tracking.tracker import Tracker

logger = logging.getLogger(__name__)
MOST_WAITING = 1000
"""Steps that may wait for a tracker; what comes on top of them is dropped."""
SECONDS_TO_CLOSE = 30.0
"""What a tracker may take at the end for what still waits."""
KEYS = ("WANDB_API_KEY", "MLFLOW_TRACKING_TOKEN", "HF_TOKEN")

Values = Mapping[str, float]


class BackgroundTracker:
    """Opens a tracker and tells it, in a thread. No method waits for it but `close`, for a bounded time."""

    def __init__(
        self,
        name: str,
        open_tracker: Callable[[], Tracker],
        on_open: Callable[[str, str], None],
        *,
        most_waiting: int = MOST_WAITING,
        seconds_to_close: float = SECONDS_TO_CLOSE,
    ) -> None:
        """on_open: told the tracker's name and place once it is open."""
        self._name = name
        self._open = open_tracker
        self._on_open = on_open
        self._seconds_to_close = seconds_to_close
        self._waiting: Queue[tuple[int, Values] | None] = Queue(most_waiting)
        self._dropped = self._refused = 0
        self._thread = Thread(target=self._run, name=f"tracking-{name}", daemon=True)
        self._thread.start()

    def log(self, step: int, values: Values) -> None:
        """Have a step's values told; they are dropped where too many wait, which is said once."""
        try:
            self._waiting.put_nowait((step, values))
        except Full:
            self._dropped += 1
            if self._dropped == 1:
                logger.warning(
                    "tracking.%s is too slow or away: step %d and what follows is not told until it catches "
                    "up; metrics.jsonl has all of it",
                    self._name,
                    step,
                )

    def close(self) -> None:
        """Return when all is told, or after SECONDS_TO_CLOSE; what was not told is counted."""
        try:
            self._waiting.put(None, timeout=self._seconds_to_close)
        except Full:
            pass
        else:
            self._thread.join(self._seconds_to_close)
        lost = self._dropped + self._refused + max(0, self._waiting.qsize() - 1) * self._thread.is_alive()
        if lost or self._thread.is_alive():
            logger.warning(
                "tracking.%s was not told %d steps' metrics; metrics.jsonl has all of them", self._name, lost
            )

    def _run(self) -> None:
        tracker = self._opened()
        while (told := self._waiting.get()) is not None:
            self._tell(tracker, *told)
        if tracker is not None:
            self._try(tracker.close)

    def _opened(self) -> Tracker | None:
        """The tracker; None, and a line that says why, where it cannot be had."""
        try:
            tracker = self._open()
        except BaseException as error:  # wandb raises what is no Exception, and this thread ends nothing else
            logger.warning("tracking.%s is not told this attempt: %s", self._name, _said(error))
            return None
        logger.info("tracking.%s: %s", self._name, tracker.place)
        self._on_open(self._name, tracker.place)
        return tracker

    def _tell(self, tracker: Tracker | None, step: int, values: Values) -> None:
        if tracker is None or not self._try(lambda: tracker.log(step, values)):
            self._refused += 1

    def _try(self, call: Callable[[], None]) -> bool:
        """Whether it went well; the first time that it did not is said."""
        try:
            call()
        except Exception as error:
            if not self._refused:
                logger.warning("tracking.%s refuses: %s", self._name, _said(error))
            return False
        return True


def _said(error: BaseException) -> str:
    """An error's kind and first line, without any key."""
    text = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    for key in filter(None, map(os.environ.get, KEYS)):
        text = text.replace(key, "***")
    return text
