"""Headers of requests and of answers."""

from openevs.api.headers import Headers, answer_headers


def test_of_a_name_that_is_there_twice_the_first_counts() -> None:
    headers = Headers([(b"a", b"1"), (b"b", b"\xe9"), (b"a", b"2")])
    assert headers.text(b"a") == "1"
    assert headers.text(b"b") == "é"
    assert headers.text(b"c") is None
    assert b"a" in headers
    assert b"c" not in headers


def test_what_a_handler_gives_goes_before_what_is_ours() -> None:
    ours = [(b"x-request-id", b"1"), (b"vary", b"A")]
    assert answer_headers(ours, {}) == ours
    given = answer_headers(ours, {"Vary": "B", "X-Other": "é☃"})
    assert given == [(b"x-request-id", b"1"), (b"vary", b"B"), (b"x-other", b"\xe9?")]
