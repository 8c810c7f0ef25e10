"""docs/configuration.md says what settings.py says; every setting is there, with its reason."""

from pathlib import Path

import msgspec

from openevs.commands.config import reason, render_documentation
from openevs.settings import SECTIONS

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_document_is_made_from_the_settings() -> None:
    assert DOCUMENT.read_text() == render_documentation(), "run: openevs show-config --markdown > docs/configuration.md"


def test_every_setting_has_a_reason() -> None:
    for name, struct in SECTIONS.items():
        for field in msgspec.structs.fields(struct):
            assert f"| `{field.name}` |" in DOCUMENT.read_text(), f"{name}.{field.name}"
            assert len(reason(name, field.name)) > 5, f"{name}.{field.name}"
