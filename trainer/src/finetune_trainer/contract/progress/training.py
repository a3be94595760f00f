"""The training's progress, told by the rank that knows the loss and read by the server's thread."""

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from finetune_trainer.contract.progress.memory import peak_memory
from finetune_trainer.contract.progress.metrics_log import MetricsLog
from finetune_trainer.contract.progress.snapshot import Progress, finite

# Steps that the remaining time is estimated from.
RECENT = 20
LONGEST_SAMPLE = 240
"""Characters of a prompt or an answer that progress tells; metrics.jsonl has all of it."""


class TrainingProgress:
    """What the run has reached. Every method may be called from any thread."""

    def __init__(self, *, total_steps: int, metrics: Path, resumed_step: int = 0) -> None:
        """metrics: the run's metrics.jsonl; its lines after `resumed_step` are removed."""
        self._log = MetricsLog(metrics, resumed_step=resumed_step)
        self._lock = threading.Lock()
        self._moments: deque[tuple[int, float]] = deque([(resumed_step, time.monotonic())], maxlen=RECENT + 1)
        self._progress = Progress(stage="train", step=resumed_step, total_steps=total_steps)

    def record_step(
        self,
        step: int,
        *,
        loss: float,
        grad_norm: float,
        learning_rate: float,
        tokens_per_second: float,
        expert_load: float | None = None,
        expert_rank_load: float | None = None,
        fullest_expert: str | None = None,
        slowest_rank: int | None = None,
        slowdown: float | None = None,
        rewards: Mapping[str, float] | None = None,
    ) -> None:
        """A step is done. tokens_per_second counts all processes; 1 is an even load, and no slowdown.

        rewards: of preference pairs, by name; among them margin and accuracy.
        """
        now = time.monotonic()
        told: dict[str, Any] = {
            "step": step,
            "loss": loss,
            "tokens_per_second": tokens_per_second,
            "expert_load": expert_load,
            "expert_rank_load": expert_rank_load,
            "slowest_rank": slowest_rank,
            "slowdown": slowdown,
            "peak_memory_bytes": peak_memory(),
        }
        with self._lock:
            eta = self._eta(step, now)
            self._moments.append((step, now))
            self._progress = replace(
                self._progress,
                **told,
                reward_margin=(rewards or {}).get("margin"),
                reward_accuracy=(rewards or {}).get("accuracy"),
                eta_seconds=eta,
            )
        self._log.append(
            {
                **told,
                "grad_norm": grad_norm,
                "learning_rate": learning_rate,
                "fullest_expert": fullest_expert,
                "rewards": dict(rewards) if rewards else None,
                "time": time.time(),
            }
        )

    def record_validation(
        self,
        step: int,
        loss: float,
        by_source: Mapping[str, float] | None = None,
        rewards: Mapping[str, float] | None = None,
    ) -> None:
        """The held-out documents' loss; by_source where there are several sources; rewards as of a step."""
        with self._lock:
            self._progress = replace(self._progress, validation_loss=loss)
        sources = {name: finite(value) for name, value in (by_source or {}).items()} or None
        self._log.append(
            {
                "step": step,
                "validation_loss": loss,
                "validation_loss_by_source": sources,
                "validation_rewards": dict(rewards) if rewards else None,
                "time": time.time(),
            }
        )

    def record_samples(self, step: int, samples: Sequence[Mapping[str, str]]) -> None:
        """Answers to the same prompts at each such step: prompt, text, and what ended the text."""
        short = tuple({name: _shortened(text) for name, text in sample.items()} for sample in samples)
        with self._lock:
            self._progress = replace(self._progress, samples=short, samples_step=step)
        self._log.append({"step": step, "samples": list(samples), "time": time.time()})

    def record_checkpoint(self, name: str, skipped: tuple[str, ...] = ()) -> None:
        """A checkpoint is durable, or was resumed from after the unreadable ones in `skipped`.

        Names are those of folders under checkpoints/.
        """
        with self._lock:
            skipped = skipped or self._progress.skipped_checkpoints
            self._progress = replace(self._progress, last_checkpoint=name, skipped_checkpoints=skipped)

    def record_tracking(self, name: str, place: str) -> None:
        """Where a tracker shows the run: a URL, or a folder of the volume."""
        with self._lock:
            told = {**(self._progress.tracking or {}), name: place}
            self._progress = replace(self._progress, tracking=told)

    def snapshot(self) -> Progress:
        with self._lock:
            return self._progress

    def close(self) -> None:
        """Return when metrics.jsonl has everything that was recorded."""
        self._log.close()

    def _eta(self, step: int, now: float) -> float | None:
        """Seconds to the last step at the pace of the recent ones."""
        first_step, then = self._moments[0]
        total = self._progress.total_steps
        if total is None or step <= first_step:
            return None
        return (total - step) * (now - then) / (step - first_step)


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_SAMPLE else text[: LONGEST_SAMPLE - 1] + "…"
