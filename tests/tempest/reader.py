"""Run by the environment's own Python: turns Tempest's stream of results on standard input into lines of JSON."""

import json
import sys
from typing import Any

import subunit
import testtools


def tell(test: dict[str, Any]) -> None:
    """Print one result."""
    details = {
        name: content.as_text() for name, content in test["details"].items() if "text" in str(content.content_type)
    }
    began, ended = test["timestamps"]
    seconds = (ended - began).total_seconds() if began and ended else 0.0
    line = {"id": test["id"], "status": test["status"], "seconds": seconds, "details": details}
    sys.stdout.write(json.dumps(line) + "\n")


def main() -> None:
    """Read all."""
    result = testtools.StreamToDict(tell)
    result.startTestRun()
    subunit.ByteStreamToStreamResult(sys.stdin.buffer, non_subunit_name="stdout").run(result)
    result.stopTestRun()


main()
