"""`openevs show-config`: every setting in force, and where it came from."""

import msgspec

from openevs.settings import SECTIONS, Origins, Settings

SECRET_SETTINGS = frozenset({("data", "database_url")})
"""Settings that may hold a password; only the part that does is masked."""


def render(settings: Settings, origins: Origins) -> str:
    """Return all settings as TOML, each line with its origin as a comment."""
    lines: list[str] = []
    for section in SECTIONS:
        lines += ["", f"[{section}]"]
        values = msgspec.structs.asdict(getattr(settings, section))
        shown = {name: _toml(_masked(section, name, value)) for name, value in values.items()}
        width = max(len(f"{name} = {value}") for name, value in shown.items())
        for name, value in shown.items():
            origin = origins.get((section, name), "default")
            lines.append(f"{f'{name} = {value}':{width}}  # {origin}")
    return "\n".join(lines[1:])


def _masked(section: str, name: str, value: object) -> object:
    if (section, name) in SECRET_SETTINGS and isinstance(value, str) and "@" in value:
        scheme, _, rest = value.partition("://")
        user = rest.partition("@")[0].partition(":")[0]
        return f"{scheme}://{user}:***@{rest.rpartition('@')[2]}"
    return value


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return msgspec.json.encode(value).decode()
