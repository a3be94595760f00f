"""What kopf is told."""

from itertools import islice

from finetune_operator.app import operator_settings


def test_a_watch_asks_every_second_for_as_long_as_the_api_server_is_away() -> None:
    backoffs = operator_settings().networking.error_backoffs
    assert not isinstance(backoffs, float)
    # kopf walks through them anew for each request.
    for _ in range(2):
        assert set(islice(iter(backoffs), 1000)) == {1.0}
