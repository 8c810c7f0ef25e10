"""Ids are what everybody takes them for."""

import uuid
from itertools import islice

from openevs.domain.ids import is_canonical_uuid, new_uuid, random_uuids


def test_random_uuids_say_what_they_are() -> None:
    made = [*(new_uuid() for _ in range(500)), *islice(random_uuids(), 500), *islice(random_uuids(), 10)]
    assert len(set(made)) == len(made)
    for text in made:
        assert is_canonical_uuid(text)
        assert (uuid.UUID(text).version, uuid.UUID(text).variant) == (4, uuid.RFC_4122)
    assert {text[19] for text in made} == set("89ab")
