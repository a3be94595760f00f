"""A run whose base is prepared and whose adapter is trained, as the merge stage finds it."""

import json
from pathlib import Path

from small_deepseek import load_json

RUN = Path(__file__).parents[1] / "golden/run/quickstart.json"


def prepared_run(root: Path, base: Path, adapter: Path, **export: object) -> tuple[Path, Path]:
    """Move both to their places below `root`; the run file, and the run's folder."""
    document = load_json(RUN)
    document["export"] = {**document["export"], **export}
    run, home = root / document["paths"]["run"], root / document["paths"]["base"]
    run.mkdir(parents=True)
    adapter.rename(run / "adapter")
    (base / ".finetune-complete.json").write_text('{"files": {}}')
    home.parent.mkdir()
    base.rename(home)
    (root / "datasets").mkdir()
    (root / "run.json").write_text(json.dumps(document))
    return root / "run.json", run
