"""What came out of a run: which tests passed, and why others did not."""

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

_ATTRIBUTES: Final = re.compile(r"\[[^\]]*\]$")
"""What follows a test's name: its id and its kinds."""
_PREPARATION: Final = re.compile(r"^(?:setUpClass|tearDownClass) \((?P<name>.*)\)$")
_READER: Final = Path(__file__).parent / "reader.py"
_REASON_LENGTH: Final = 300


class Outcome(NamedTuple):
    """One test, or the preparation of a class of them, which is reported only if it failed or was skipped."""

    name: str
    status: str
    """`success`, `fail`, `skip`, `xfail`, `uxsuccess`."""
    seconds: float
    reason: str

    @property
    def about(self) -> str:
        """The test, or the class that was prepared."""
        found = _PREPARATION.match(self.name)
        return found["name"] if found else self.name


def read(environment: Path, stream: Path) -> list[Outcome]:
    """Return what a stream of results says."""
    with stream.open("rb") as given:
        command = [str(environment / "bin" / "python"), str(_READER)]
        told = subprocess.run(command, stdin=given, capture_output=True, check=True, text=True)
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    return [
        Outcome(_ATTRIBUTES.sub("", line["id"]), line["status"], line["seconds"], _reason(line["details"]))
        for line in lines
        if line["status"] in {"success", "fail", "skip", "xfail", "uxsuccess"}
    ]


def passed(outcomes: list[Outcome]) -> set[str]:
    """Return the names of the tests that passed."""
    return {one.name for one in outcomes if one.status == "success"}


def area_of(name: str) -> str:
    """Return what a test or a class of tests is about: its module, in words."""
    modules = [part for part in name.split(".")[:-1] if part.startswith("test_")]
    return modules[-1].removeprefix("test_").replace("_", " ")


def _reason(details: Mapping[str, str]) -> str:
    if "reason" in details:
        return details["reason"].strip()
    text = "\n".join(details.get(name, "") for name in sorted(details) if "traceback" in name)
    # The last exception that is named; what it carries may go on for many lines.
    found = re.findall(
        r"^[A-Za-z_.]+(?:Error|Exception|Failure|tempest\.lib\.exceptions\.\w+)\b.*$|^tempest\.lib.*$",
        text,
        re.MULTILINE,
    )
    details_line = re.findall(r"^Details: .*$", text, re.MULTILINE)
    said = [found[-1]] if found else text.strip().splitlines()[-1:]
    return " ".join([*said, *details_line[-1:]])[:_REASON_LENGTH]
