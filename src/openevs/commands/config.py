"""`openevs show-config`: every setting in force, and where it came from."""

import msgspec

from openevs.settings import SECRETS, SECTIONS, Origins, Settings

HEAD = """\
# Configuration

<!-- Made from src/openevs/sections by `openevs show-config --markdown`; a test fails when they differ. -->

Sources, later ones win: the default; a TOML file (`--config FILE`, or `OPENEVS_CONFIG`); an environment variable
`OPENEVS_SECTION_NAME` (`OPENEVS_SERVER_PORT=8777`); the command line. `openevs show-config` prints what is in
force and where each value came from. A name that does not exist is an error that says which one is nearest."""

_WITH_PASSWORD = ("data", "database_url")
"""The setting that may hold a password; only the part that does is masked."""


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
    if (section, name) in SECRETS and value:
        return "***"
    if (section, name) == _WITH_PASSWORD and isinstance(value, str) and "@" in value:
        scheme, _, rest = value.partition("://")
        user = rest.partition("@")[0].partition(":")[0]
        return f"{scheme}://{user}:***@{rest.rpartition('@')[2]}"
    return value


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return msgspec.json.encode(value).decode()


def render_documentation() -> str:
    """Return docs/configuration.md: every setting with its default and its reason."""
    lines = [HEAD]
    for section, struct in SECTIONS.items():
        lines += ["", f"## `[{section}]`", "", str(struct.__doc__), "", "| setting | default | meaning, and why so |"]
        lines += ["| --- | --- | --- |"]
        default = struct()
        for field in msgspec.structs.fields(struct):
            value = _toml(getattr(default, field.name))
            lines.append(f"| `{field.name}` | `{value}` | {reason(section, field.name)} |")
    return "\n".join(lines) + "\n"


def reason(section: str, name: str) -> str:
    """Return what a setting means, and why it is as it is."""
    schema = msgspec.json.schema(SECTIONS[section])["$defs"][SECTIONS[section].__name__]
    return str(schema["properties"][name].get("description", ""))
