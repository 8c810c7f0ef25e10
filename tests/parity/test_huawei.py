"""The life of a snapshot with Huawei's own SDK, unmodified: requests signed with AK/SK, v2 cloudsnapshots, EVS codes.

Volumes come from python-cinderclient in the same project: what is looked at here is the SDK's way to snapshots.
"""

import shlex
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials, Credentials, GlobalCredentials
from huaweicloudsdkcore.auth.provider import EnvCredentialProvider
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException, SdkException
from huaweicloudsdkcore.region.region import Region
from huaweicloudsdkevs.v2 import EvsClient, model
from huaweicloudsdkevs.v2.region.evs_region import EvsRegion
from huaweicloudsdkiam import v3 as iam

from openevs.demo.service import Service
from tests.parity.test_cinderclient import connect, gone, until

NOWHERE = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def known(service: Service) -> dict[str, str]:
    """What the first start wrote for a shell."""
    words = shlex.split((service.folder / "openrc").read_text())
    return dict(word.split("=", 1) for word in words if "=" in word)


@pytest.fixture
def evs(service: Service, known: dict[str, str]) -> Any:
    """A client with a key, an explicit project and an explicit endpoint."""
    return client(credentials(known), service.base_url)


def credentials(known: dict[str, str]) -> BasicCredentials:
    """Return the demo user's key on the demo project."""
    project = known["HUAWEICLOUD_SDK_PROJECT_ID"]
    return BasicCredentials(known["HUAWEICLOUD_SDK_AK"], known["HUAWEICLOUD_SDK_SK"], project)


def client(given: Credentials, endpoint: str) -> Any:
    """Return the SDK's client for an endpoint."""
    return EvsClient.new_builder().with_credentials(given).with_endpoint(endpoint).build()


@pytest.fixture
def volume(service: Service) -> Iterator[str]:
    """The id of an available volume of 1 GiB."""
    cinder = connect(service, "3.44")
    made = cinder.volumes.create(1, name=f"huawei-{uuid.uuid4().hex[:8]}")
    until(lambda: cinder.volumes.get(made.id), "available")
    yield made.id
    cinder.volumes.delete(made.id, cascade=True)
    gone(lambda: cinder.volumes.get(made.id))


def wait(evs: Any, snapshot_id: str, status: str = "available") -> Any:
    """Wait for a snapshot's status."""
    deadline = time.monotonic() + 20
    while True:
        found = evs.show_snapshot(model.ShowSnapshotRequest(snapshot_id=snapshot_id)).snapshot
        if found.status == status:
            return found
        assert not found.status.startswith("error"), found
        assert time.monotonic() < deadline, found
        time.sleep(0.01)


def create(evs: Any, volume_id: str, **fields: Any) -> Any:
    """Create a snapshot."""
    option = model.CreateSnapshotOption(volume_id=volume_id, **fields)
    return evs.create_snapshot(model.CreateSnapshotRequest(body=model.CreateSnapshotRequestBody(option))).snapshot


def listed(evs: Any, **filters: Any) -> Any:
    """List snapshots."""
    return evs.list_snapshots(model.ListSnapshotsRequest(**filters))


def refusal(call: Callable[[], Any]) -> Any:
    """Return the SDK's exception for a request that must be refused."""
    with pytest.raises(ClientRequestException) as caught:
        call()
    assert caught.value.request_id.startswith("req-")
    return caught.value


def test_snapshot_life(evs: Any, volume: str) -> None:
    made = create(evs, volume, name="über & ~*+ %20", description="d", metadata={"k": "v"}, force=False)
    assert (made.status, made.volume_id, made.size) == ("creating", volume, 1)
    found = wait(evs, made.id)
    assert (found.name, found.description, found.metadata) == ("über & ~*+ %20", "d", {"k": "v"})
    assert found.os_extended_snapshot_attributesprogress == "100%"

    option = model.UpdateSnapshotOption(name="renamed", description="other")
    body = model.UpdateSnapshotRequestBody(option)
    changed = evs.update_snapshot(model.UpdateSnapshotRequest(snapshot_id=made.id, body=body)).snapshot
    assert (changed.id, changed.name, changed.description) == (made.id, "renamed", "other")

    rollback = model.RollbackSnapshotRequestBody(model.RollbackSnapshotOption(volume_id=volume, name="n"))
    answer = evs.rollback_snapshot(model.RollbackSnapshotRequest(snapshot_id=made.id, body=rollback))
    assert answer.rollback.volume_id == volume
    wait(evs, made.id)

    evs.delete_snapshot(model.DeleteSnapshotRequest(snapshot_id=made.id))
    error = refusal(lambda: wait(evs, made.id, "gone"))
    assert (error.status_code, error.error_code) == (404, "EVS.5404")


def test_filters_and_pages(evs: Any, volume: str) -> None:
    names = ["a b+c~*", "ü/%2F", "p&q=r", "p2", "p3"]
    made = {name: create(evs, volume, name=name).id for name in names}
    for snapshot_id in made.values():
        wait(evs, snapshot_id)
    every = listed(evs, volume_id=volume)
    assert (every.count, {one.id for one in every.snapshots}) == (5, set(made.values()))
    for name, snapshot_id in made.items():
        assert [one.id for one in listed(evs, name=name).snapshots] == [snapshot_id]
        assert [one.name for one in listed(evs, id=snapshot_id).snapshots] == [name]
    assert listed(evs, volume_id=volume, status="error").count == 0
    assert listed(evs, volume_id=volume, status="available").count == 5
    seen: list[str] = []
    for offset in (0, 2, 4):
        page = listed(evs, volume_id=volume, limit=2, offset=offset)
        assert page.count == 5
        seen += [one.id for one in page.snapshots]
    assert sorted(seen) == sorted(made.values())


def test_codes(evs: Any, volume: str) -> None:
    error = refusal(lambda: evs.show_snapshot(model.ShowSnapshotRequest(snapshot_id=NOWHERE)))
    assert (error.status_code, error.error_code) == (404, "EVS.5404")
    assert NOWHERE in error.error_msg
    assert refusal(lambda: create(evs, NOWHERE)).error_code == "EVS.5404"
    assert refusal(lambda: evs.delete_snapshot(model.DeleteSnapshotRequest(snapshot_id=NOWHERE))).status_code == 404
    assert refusal(lambda: create(evs, volume, name="x" * 256)).status_code == 400
    error = refusal(lambda: listed(evs, limit=0))
    assert error.status_code == 400
    assert error.error_code.startswith("EVS.")


def test_project_by_region(service: Service, known: dict[str, str], volume: str) -> None:
    # The SDK remembers the projects of a key by region, in the process: each test of this needs a key of its own.
    basic = BasicCredentials(known["HUAWEICLOUD_SDK_AK"], known["HUAWEICLOUD_SDK_SK"])
    basic.with_iam_endpoint(service.base_url)
    region = Region("RegionOne", service.base_url)
    evs = EvsClient.new_builder().with_credentials(basic).with_region(region).build()
    assert wait(evs, create(evs, volume, name="by region").id).name == "by region"
    assert basic.project_id == known["HUAWEICLOUD_SDK_PROJECT_ID"]

    lost = BasicCredentials(known["HUAWEICLOUD_SDK_AK"], known["HUAWEICLOUD_SDK_SK"])
    lost.with_iam_endpoint(service.base_url)
    with pytest.raises(SdkException, match="elsewhere"):
        EvsClient.new_builder().with_credentials(lost).with_region(Region("elsewhere", service.base_url)).build()


def test_everything_from_the_environment(known: dict[str, str], volume: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in known.items():
        if name.startswith("HUAWEICLOUD"):
            monkeypatch.setenv(name, value)
    given = EnvCredentialProvider.get_basic_credential_env_provider().get_credentials()
    evs = EvsClient.new_builder().with_credentials(given).with_region(EvsRegion.value_of("RegionOne")).build()
    assert wait(evs, create(evs, volume).id).volume_id == volume


def test_derived_keys(service: Service, known: dict[str, str], volume: str) -> None:
    given = credentials(known).with_derived_predicate(lambda request: True)
    # Builders of other services' clients do this; that of EVS leaves its name out.
    given._process_derived_auth_params("evs", "RegionOne")
    evs = client(given, service.base_url)
    assert wait(evs, create(evs, volume, name="derived ~ü").id).volume_id == volume


def test_wrong_secrets(service: Service, known: dict[str, str]) -> None:
    access, project = known["HUAWEICLOUD_SDK_AK"], known["HUAWEICLOUD_SDK_PROJECT_ID"]
    for pair, words in (((access, "wrong"), "signature"), (("AKNOBODY", "wrong"), "cannot be fetched")):
        evs = client(BasicCredentials(*pair, project), service.base_url)
        error = refusal(partial(listed, evs))
        assert (error.status_code, error.error_code) == (401, "APIGW.0301")
        assert words in error.error_msg


def test_native_calls(service: Service, known: dict[str, str], evs: Any, volume: str) -> None:
    cinder = connect(service, "3.44")
    made = create(evs, volume, name="seen by both")
    wait(evs, made.id)
    assert cinder.volume_snapshots.get(made.id).name == "seen by both"
    zones = evs.cinder_list_availability_zones(model.CinderListAvailabilityZonesRequest()).availability_zone_info
    assert [zone.zone_name for zone in zones] == ["nova"]
    assert evs.cinder_list_volume_types(model.CinderListVolumeTypesRequest()).volume_types
    quotas = model.CinderListQuotasRequest(target_project_id=known["HUAWEICLOUD_SDK_PROJECT_ID"], usage="True")
    assert evs.cinder_list_quotas(quotas).quota_set.snapshots.in_use >= 1
    assert evs.list_versions(model.ListVersionsRequest()).versions


def test_access_keys_with_the_iam_sdk(service: Service, known: dict[str, str], volume: str) -> None:
    pair = known["HUAWEICLOUD_SDK_AK"], known["HUAWEICLOUD_SDK_SK"]
    builder = iam.IamClient.new_builder().with_credentials(GlobalCredentials(*pair, "default"))
    client_of_iam: Any = builder.with_endpoint(service.base_url).build()
    first = client_of_iam.show_permanent_access_key(iam.ShowPermanentAccessKeyRequest(access_key=pair[0])).credential
    option = iam.CreateCredentialOption(user_id=first.user_id, description="second")
    body = iam.CreatePermanentAccessKeyRequestBody(option)
    made = client_of_iam.create_permanent_access_key(iam.CreatePermanentAccessKeyRequest(body=body)).credential
    assert (made.status, made.description) == ("active", "second")
    # The key is for the caller's project, which its first use need not name.
    own = BasicCredentials(made.access, made.secret).with_iam_endpoint(service.base_url)
    evs: Any = EvsClient.new_builder().with_credentials(own).with_region(Region("RegionOne", service.base_url)).build()
    wait(evs, create(evs, volume).id)
    keys = client_of_iam.list_permanent_access_keys(iam.ListPermanentAccessKeysRequest()).credentials
    assert {pair[0], made.access} <= {key.access for key in keys}
    change = iam.UpdatePermanentAccessKeyRequestBody(iam.UpdateCredentialOption(status="inactive"))
    request = iam.UpdatePermanentAccessKeyRequest(access_key=made.access, body=change)
    assert client_of_iam.update_permanent_access_key(request).credential.status == "inactive"
    assert refusal(lambda: listed(evs)).error_code == "APIGW.0301"
    client_of_iam.delete_permanent_access_key(iam.DeletePermanentAccessKeyRequest(access_key=made.access))
    left = client_of_iam.list_permanent_access_keys(iam.ListPermanentAccessKeysRequest()).credentials
    assert made.access not in {key.access for key in left}
