"""The application against its ideal, and a proof that the comparison can fail.

OPENEVS_MODEL=deep walks longer, OPENEVS_MODEL_EXAMPLES times, and makes a failing example smaller; without it a walk is
as long as `make test` allows.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.engine.memory import MemoryEngine
from openevs.engine.port import VolumeFacts
from openevs.operations import delete_snapshot
from tests.model.machine import Machine
from tests.model.stage import make_template

_ALWAYS: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
    "print_blob": True,
}
PROFILES = {
    "ci": settings(max_examples=20, stateful_step_count=25, phases=[Phase.generate], **_ALWAYS),
    "deep": settings(
        max_examples=int(os.environ.get("OPENEVS_MODEL_EXAMPLES", "1500")), stateful_step_count=60, **_ALWAYS
    ),
}
PLANTED = settings(
    max_examples=200,
    stateful_step_count=40,
    phases=[Phase.generate],
    derandomize=True,
    report_multiple_bugs=False,
    **_ALWAYS,
)


@pytest.fixture(scope="module")
def machine() -> Iterator[type[Machine]]:
    """The state machine, with a data folder to begin with."""
    template = make_template()
    yield type("MachineOnTemplate", (Machine,), {"template": template})
    shutil.rmtree(template)


def test_the_application_is_ideal(machine: type[Machine]) -> None:
    run_state_machine_as_test(machine, settings=PROFILES[os.environ.get("OPENEVS_MODEL", "ci")])


def _keep_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delete_snapshot, "give_quota", lambda *_: None)


def _put_back_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def idle(self: MemoryEngine, volume_id: VolumeId, snapshot_id: SnapshotId, token: int) -> VolumeFacts:
        return self._pool().volumes[volume_id].facts

    monkeypatch.setattr(MemoryEngine, "ensure_reverted", idle)


@pytest.mark.parametrize("plant", [_keep_quota, _put_back_nothing])
def test_a_planted_mistake_is_found(
    machine: type[Machine], monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    plant(monkeypatch)
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(machine, settings=PLANTED)
