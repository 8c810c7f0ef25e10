"""How far work has come: kept for whoever asks, logged now and then, and forgotten in the end."""

from structlog.testing import capture_logs

from openevs.domain.backup import Moved
from openevs.operations.progress import Progresses
from openevs.vault.port import Progress


def test_progress_is_logged_now_and_then_and_again_by_a_second_attempt() -> None:
    progresses = Progresses()
    with capture_logs() as logs:
        for second in (*range(1, 26), *range(1, 12)):
            progresses.note("b", Progress(second * 100, 1, 5000, float(second)))
    lines = [(line["bytes_done"], line["bytes_total"], line["bytes_per_second"]) for line in logs]
    assert lines == [(1000, 5000, 100), (2000, 5000, 100), (1000, 5000, 100)]
    assert progresses.get("b") == Moved(1100, 5000, 11.0)


def test_what_moved_long_ago_is_forgotten() -> None:
    progresses = Progresses()
    for number in range(2000):
        progresses.note(str(number), Progress(1, 1, 1, 0.0))
    assert progresses.get("0") is None
    assert progresses.get("1999") == Moved(1, 1, 0.0)
