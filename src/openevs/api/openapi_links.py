"""Links in the description of the API: what can be asked of a thing that a create has just made.

They are for programs that walk through an API by its description, tests among them. They follow from the paths: what is
made by `POST …/volumes` is what every path below `…/volumes/{volume_id}` is about.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

ENVELOPES: Final[Mapping[str, str]] = {"type_id": "volume_type", "qos_id": "qos_specs"}
"""Parameter of a path → what its thing is called in an answer, where that is not the parameter without `_id`."""
OTHERWISE: Final = ("cloudvolumes", "encryption")
"""What is made there is not named by its id in the answer: it is a job that is, or nothing."""
USES: Final = (
    ("volume_id", "snapshots", "snapshot", "volume_id"),
    ("volume_id", "volumes", "volume", "source_volid"),
    ("volume_id", "backups", "backup", "volume_id"),
    ("volume_id", "attachments", "attachment", "volume_uuid"),
    ("volume_id", "os-volume-transfer", "transfer", "volume_id"),
    ("volume_id", "volume-transfers", "transfer", "volume_id"),
    ("snapshot_id", "volumes", "volume", "snapshot_id"),
    ("backup_id", "volumes", "volume", "backup_id"),
    ("type_id", "volumes", "volume", "volume_type"),
)
"""(parameter that names the thing, collection in which something is made of it, its envelope, field for the id)."""


def add_links(described: Mapping[str, dict[str, Any]]) -> None:
    """Give the answers to creates their links, in a description's paths."""
    for path, operations in described.items():
        below = [other for other in described if re.match(re.escape(path) + r"/{\w+_id}(/|$)", other)]
        if "post" not in operations or not below or path.rpartition("/")[2] in OTHERWISE:
            continue
        parameter = below[0][len(path) + 2 :].partition("}")[0]
        links = dict(_links(described, path, parameter, below))
        for status, response in operations["post"]["responses"].items():
            if status.startswith("2") and links:
                response["links"] = links


def _links(
    described: Mapping[str, dict[str, Any]], path: str, parameter: str, below: list[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    made = f"$response.body#/{ENVELOPES.get(parameter, parameter.removesuffix('_id'))}/id"
    where = {name: f"$request.path.{name}" for name in re.findall(r"{(\w+)}", path)}
    for other in below:
        # Further parameters (the key of a metadata entry) are for whoever follows the link to choose.
        for operation in described[other].values():
            name = operation["operationId"]
            yield name, {"operationId": name, "parameters": {**where, parameter: made}}
    collection = path.rpartition("/")[0]
    for used, into, envelope, field in USES:
        operation = described.get(f"{collection}/{into}", {}).get("post")
        if used == parameter and operation is not None:
            name = operation["operationId"]
            body = {envelope: {field: made}}
            yield f"{name}_by_{field}", {"operationId": name, "parameters": where, "requestBody": body}
