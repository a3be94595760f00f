"""TensorBoard's event files, in the run's folder."""

from collections.abc import Mapping

from torch.utils.tensorboard import SummaryWriter

from finetune_trainer.tracking.identity import Identity

FOLDER = "tensorboard"


class TensorBoard:
    """All attempts write into one folder; of steps that are trained again the newest are shown.

    That is what purge_step does, which torchtitan's logger does not give.
    """

    def __init__(self, identity: Identity, resumed_step: int) -> None:
        self.place = f"{identity.path}/{FOLDER}"
        self._writer = SummaryWriter(identity.folder / FOLDER, purge_step=resumed_step + 1 or None)
        if not resumed_step:
            rows = "\n".join(f"| {name} | {value} |" for name, value in identity.settings.items())
            self._writer.add_text("run", f"| field | value |\n|---|---|\n{rows}")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
