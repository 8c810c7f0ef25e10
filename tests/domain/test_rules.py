"""Limits of texts and metadata, to the byte."""

import pytest

from openevs.domain.errors import InvalidInput
from openevs.domain.rules import (
    IMAGE_VALUE_MAX_BYTES,
    SNAPSHOTTABLE,
    check_metadata,
    check_text,
    is_reserved_name,
)


@pytest.mark.parametrize("text", ["", "a" * 255, "é" * 127, "é" * 127 + "a", "漢" * 85, "😀" * 63 + "abc"])
def test_text_of_at_most_255_bytes_passes(text: str) -> None:
    assert check_text("name", text) == text


@pytest.mark.parametrize(("text", "size"), [("a" * 256, 256), ("é" * 128, 256), ("漢" * 86, 258), ("😀" * 64, 256)])
def test_longer_text_is_refused_with_its_size(text: str, size: int) -> None:
    with pytest.raises(InvalidInput, match=f"name: it has {size} bytes"):
        check_text("name", text)


def test_text_is_stripped_before_it_is_measured() -> None:
    assert check_text("name", "  " + "a" * 255 + "\n") == "a" * 255
    assert check_text("name", None) is None


@pytest.mark.parametrize("text", ["a\x00b", "\ud800"])
def test_text_that_no_database_can_keep_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        check_text("name", text)


@pytest.mark.parametrize("key", ["a", "a b", "A-Z_0.9:", "x" * 255, "a/b"])
def test_metadata_key_passes(key: str) -> None:
    assert check_metadata({key: "v"}) == {key: "v"}


@pytest.mark.parametrize("key", ["", "x" * 256, "é", "a\n", "a,b", "a\x00"])
def test_metadata_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidInput, match="metadata"):
        check_metadata({key: "v"})


def test_slash_only_at_creation() -> None:
    with pytest.raises(InvalidInput):
        check_metadata({"a/b": "v"}, slash=False)


@pytest.mark.parametrize("value", [None, 1, True, {}, [], "é" * 128])
def test_metadata_value_is_refused_naming_the_key(value: object) -> None:
    with pytest.raises(InvalidInput, match="'colour'"):
        check_metadata({"colour": value})


def test_metadata_is_bounded_as_a_whole() -> None:
    with pytest.raises(InvalidInput) as error:
        check_metadata({f"k{number}": "v" * 255 for number in range(5000)})
    assert error.value.code == "EVS.1005"


def test_what_is_known_of_an_image_is_bounded_as_a_whole() -> None:
    most = {f"k{n}": "v" * IMAGE_VALUE_MAX_BYTES for n in range(15)}
    assert check_metadata(most, value_max=IMAGE_VALUE_MAX_BYTES) == most
    with pytest.raises(InvalidInput):
        check_metadata({f"k{n}": "v" * IMAGE_VALUE_MAX_BYTES for n in range(16)}, value_max=IMAGE_VALUE_MAX_BYTES)


@pytest.mark.parametrize(
    ("name", "reserved"),
    [
        ("autobk_snapshot_x", True),
        ("autobk_snapshot_vbs_1", True),
        ("manualbk_snapshot_csbs_1", True),
        ("my_autobk_snapshot_", False),
        ("", False),
        (None, False),
    ],
)
def test_reserved_names(name: str | None, reserved: bool) -> None:
    assert is_reserved_name(name) is reserved


def test_force_table() -> None:
    assert SNAPSHOTTABLE["no"] == {"available"}
    assert SNAPSHOTTABLE["yes"] == {"available", "in-use", "attaching"}
    assert SNAPSHOTTABLE["implied"] == {"available", "in-use"}
