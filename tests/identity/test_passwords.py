"""Password hashes and the slowing down of guesses."""

import asyncio
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from openevs.domain.errors import InvalidInput, Unauthenticated, Unavailable
from openevs.identity import passwords as module
from openevs.identity import throttle as throttle_module
from openevs.identity.passwords import Passwords, check_hash, check_password, cost_of, make_hash
from openevs.identity.throttle import LoginThrottle
from openevs.testing.clock import ManualClock


def test_a_hash_tells_its_parameters_and_nothing_of_the_password() -> None:
    kept = make_hash("geheim", 1)
    assert re.fullmatch(r"\$scrypt\$ln=10,r=8,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}", kept)
    assert kept != make_hash("geheim", 1)
    assert check_hash("geheim", kept)
    assert not check_hash("geheim ", kept)


def test_a_hash_made_with_other_settings_is_still_good() -> None:
    assert check_hash("ü\ud800", make_hash("ü\ud800", 2))


@pytest.mark.parametrize(("mib", "log2_n"), [(1, 10), (3, 11), (32, 15), (1024, 20)])
def test_memory_is_what_the_setting_says_rounded_down(mib: int, log2_n: int) -> None:
    assert cost_of(mib).log2_n == log2_n


def test_an_unknown_form_is_an_error_that_does_not_show_it() -> None:
    with pytest.raises(ValueError, match="form") as caught:
        check_hash("x", "$md5$abcdef")
    assert "abcdef" not in str(caught.value)


@pytest.mark.parametrize("bad", ["", "x" * 1025, "ü" * 513])
def test_unusable_passwords(bad: str) -> None:
    with pytest.raises(InvalidInput, match=r"user\.password"):
        check_password("user.password", bad)


def test_without_a_hash_the_answer_is_no_after_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    real = module.check_hash

    def spy(password: str, kept: str) -> bool:
        checked.append(kept)
        return real(password, kept)

    monkeypatch.setattr(module, "check_hash", spy)
    some = Passwords(1)

    async def scenario() -> None:
        assert await some.matches("x", await some.hash("x"))
        assert not await some.matches("x", None)

    asyncio.run(scenario())
    some.close()
    assert len(checked) == 2
    assert len({kept.split("$")[2] for kept in checked}) == 1


def test_two_at_a_time_and_a_bounded_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, lock, go = 0, 0, threading.Lock(), threading.Event()

    def slow(password: str, kept: str) -> bool:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        go.wait(10)
        with lock:
            running -= 1
        return True

    monkeypatch.setattr(module, "check_hash", slow)
    monkeypatch.setattr(module, "_MOST_WAITING", 8)
    some = Passwords(1)

    async def scenario() -> None:
        waiting = [asyncio.create_task(some.matches("x", None)) for _ in range(8)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await some.matches("x", None)
        go.set()
        assert all(await asyncio.gather(*waiting))
        assert await some.matches("x", None)

    asyncio.run(scenario())
    some.close()
    assert most == 2


def test_waits_double_up_to_the_limit_and_end() -> None:
    clock = ManualClock()
    throttle = LoginThrottle(3, 5.0, clock)
    waits: list[int] = []

    def free(name: str) -> bool:
        try:
            throttle.check(name)
        except Unauthenticated:
            return False
        return True

    for _ in range(7):
        throttle.check("eve")
        throttle.failed("eve")
        waits.append(0)
        while not free("eve"):
            clock.advance(1)
            waits[-1] += 1
    assert waits == [0, 0, 1, 2, 4, 5, 5]
    throttle.check("somebody else")
    throttle.succeeded("eve")
    throttle.failed("eve")
    throttle.check("eve")


def test_a_clock_that_is_set_back_makes_nobody_wait_for_longer() -> None:
    clock = ManualClock()
    throttle = LoginThrottle(1, 5.0, clock)
    for _ in range(9):
        throttle.failed("eve")
    clock.set_back(3600)
    with pytest.raises(Unauthenticated, match="5 seconds"):
        throttle.check("eve")
    clock.advance(5)
    throttle.check("eve")


def test_the_table_of_failures_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle_module, "MOST_NAMES", 3)
    throttle = LoginThrottle(1, 60.0, ManualClock())
    for name in "abcd":
        throttle.failed(name)
    throttle.check("a")
    for name in "bcd":
        with pytest.raises(Unauthenticated):
            throttle.check(name)


def test_hashing_leaves_the_interpreter_to_others() -> None:
    with ThreadPoolExecutor(2) as pool:
        hashes = list(pool.map(lambda _: make_hash("x", 1), range(4)))
    assert len(set(hashes)) == 4
