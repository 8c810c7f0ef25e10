"""`openevs token` that cannot get one: a sentence, and no traceback."""

import pytest

from openevs.commands.failure import Failure
from openevs.commands.token import get_token


@pytest.mark.parametrize("auth_url", ["localhost", "data:,hello", "data:,1#", "data:,%7B%7D#"])
def test_what_is_no_identity_service_is_named(auth_url: str) -> None:
    """What is no URL, and what answers with no JSON, or with other JSON than a token's."""
    environ = {"OS_AUTH_URL": auth_url, "OS_USERNAME": "u", "OS_PASSWORD": "p", "OS_PROJECT_NAME": "d"}
    with pytest.raises(Failure, match=f"^{auth_url}.* is no "):
        get_token(environ)
