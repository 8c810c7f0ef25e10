"""A clock that stands still until a test moves it."""

from datetime import UTC, datetime, timedelta

_START = datetime(2025, 1, 1, tzinfo=UTC)


class ManualClock:
    """Callable that returns aware UTC time; pass it wherever `now` is asked for."""

    def __init__(self, start: datetime = _START) -> None:
        if start.tzinfo is None:
            raise ValueError("the clock's start must be an aware time")
        self._now = start.astimezone(UTC)

    def __call__(self) -> datetime:
        return self._now

    def set_back(self, seconds: float) -> None:
        """Set the clock back, as a person does, or a time server that was wrong."""
        self._now -= timedelta(seconds=seconds)

    def advance(self, seconds: float) -> None:
        """Move forward. Raises ValueError for less than nothing: time does not run backwards."""
        if seconds < 0:
            raise ValueError("time does not run backwards")
        self._now += timedelta(seconds=seconds)
