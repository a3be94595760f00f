from pathlib import Path

from finetune_trainer.train.metrics import wandb_identity


def test_every_attempt_of_a_run_has_one_identity_at_wandb():
    identity = wandb_identity(Path("/volume/runs/team/faq/3f2a9c1b"))
    assert identity["WANDB_RUN_ID"] == "team-faq-3f2a9c1b"
    assert identity["WANDB_RESUME"] == "allow"
