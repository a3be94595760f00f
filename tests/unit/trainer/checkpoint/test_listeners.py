from finetune_trainer.checkpoint.listeners import CheckpointListeners

Told = list[tuple[str, tuple[str, ...]]]


def test_a_late_listener_is_told_what_the_run_was_resumed_from() -> None:
    early: Told = []
    late: Told = []
    listeners = CheckpointListeners()
    listeners.append(lambda name, skipped=(): early.append((name, skipped)))
    listeners.tell("step-4", ("step-6",))
    listeners.append(lambda name, skipped=(): late.append((name, skipped)))
    listeners.tell("step-8")
    assert early == late == [("step-4", ("step-6",)), ("step-8", ())]
