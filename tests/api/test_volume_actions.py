"""Actions on volumes: from which statuses each is possible, what it leads to, and what is refused by name."""

from pathlib import Path
from typing import Any

from openevs.domain.lifecycle import VOLUME_STATUSES
from openevs.testing.application import Client, Running
from tests.api.asking import GONE, act, at_work, fault, set_volume, status_of

ATTACH = {"mountpoint": "/dev/vdb", "host_name": "h"}


# action, content, microversion, statuses it is possible from, the status it leads to
MOVES: list[tuple[str, Any, str, set[str], str]] = [
    ("os-reserve", None, "3.0", {"available"}, "attaching"),
    ("os-unreserve", {}, "3.0", {"attaching"}, "available"),
    ("os-begin_detaching", None, "3.0", {"in-use"}, "detaching"),
    ("os-roll_detaching", {}, "3.0", {"detaching"}, "in-use"),
    ("os-detach", {}, "3.0", {"in-use", "detaching", "error_detaching"}, "available"),
    ("os-update_readonly_flag", {"readonly": "false"}, "3.0", {"available"}, "available"),
    ("os-extend", {"new_size": 2}, "3.41", {"available"}, "extending"),
]
WITHOUT_EFFECT = {"os-unreserve", "os-roll_detaching"}
"""What clients clear up with: in any other status, there is nothing to give back."""


def test_from_which_statuses(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        volume_id = (await client.volume())["id"]
        for action, content, version, possible, leads_to in MOVES:
            client.version = version
            for wrong in sorted(VOLUME_STATUSES - possible):
                await set_volume(run, volume_id, wrong)
                if action in WITHOUT_EFFECT:
                    assert (await act(client, volume_id, action, content)).status_code == 202
                    assert await status_of(client, volume_id) == wrong
                    continue
                status, name, message = fault(await act(client, volume_id, action, content))
                assert (status, name) == (400, "badRequest"), (action, wrong)
                assert f"its status is {wrong}, but must be {' or '.join(sorted(possible))}" in message
            for right in sorted(possible):
                await set_volume(run, volume_id, right)
                assert (await act(client, volume_id, action, content)).status_code == 202
                if leads_to != "extending":
                    assert await status_of(client, volume_id) == leads_to
        # One that was attached by status alone is there to be attached once.
        await client.until("volume", volume_id, "available")
        for right in ("attaching", "available"):
            await set_volume(run, volume_id, right)
            assert (await act(client, volume_id, "os-attach", ATTACH, api="v2")).status_code == 202
            assert fault(await act(client, volume_id, "os-attach", ATTACH))[:2] == (400, "badRequest")
            assert (await act(client, volume_id, "os-detach", None, api="v2")).status_code == 202

    at_work(tmp_path, work)


def test_extending(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        volume_id = (await client.volume(size=2))["id"]
        for content, field in (
            ({}, "new_size"),
            ({"new_size": 1}, "new_size"),
            ({"new_size": 2}, "new_size"),
            ({"new_size": "big"}, "new_size"),
            ({"new_size": None}, "new_size"),
            ({"new_size": 10**9}, "new_size"),
            ({"new_size": 3.0}, "new_size"),
            ({"new_size": 3, "more": 1}, "os-extend"),
            (None, "os-extend"),
        ):
            status, name, message = fault(await act(client, volume_id, "os-extend", content))
            assert (status, name) == (400, "badRequest")
            assert f"Invalid input for {field}:" in message
        assert await status_of(client, volume_id) == "available"
        assert (await act(client, volume_id, "os-extend", {"new_size": 3})).status_code == 202
        assert (await client.until("volume", volume_id, "available"))["size"] == 3
        assert (await act(client, volume_id, "os-attach", ATTACH)).status_code == 202
        client.version = "3.41"
        assert "must be available" in fault(await act(client, volume_id, "os-extend", {"new_size": 4}))[2]
        client.version = "3.42"
        assert (await act(client, volume_id, "os-extend", {"new_size": "4"})).status_code == 202
        assert (await client.until("volume", volume_id, "in-use"))["size"] == 4

    at_work(tmp_path, work)


REFUSED: list[tuple[str, Any, str]] = [
    ("os-attach", {"host_name": "h"}, "Invalid input for mountpoint: it is required"),
    ("os-attach", {"mountpoint": " ", "host_name": "h"}, "Invalid input for mountpoint:"),
    ("os-attach", {"mountpoint": "/dev/vdb"}, "Invalid input for os-attach:"),
    ("os-attach", {"mountpoint": "/dev/vdb", "instance_uuid": "vm"}, "Invalid input for instance_uuid:"),
    ("os-attach", {**ATTACH, "mode": "rx"}, "Invalid input for mode:"),
    ("os-attach", {**ATTACH, "host_name": "h" * 256}, "Invalid input for host_name:"),
    ("os-detach", {"attachment_id": 1}, "Invalid input for attachment_id:"),
    ("os-initialize_connection", {}, "Invalid input for connector:"),
    ("os-initialize_connection", {"connector": None}, "Invalid input for connector:"),
    ("os-initialize_connection", {"connector": {"transport": "rbd"}}, "Invalid input for connector.transport:"),
    ("os-initialize_connection", {"connector": {"mode": "x"}}, "Invalid input for connector.mode:"),
    ("os-set_bootable", {}, "Invalid input for bootable:"),
    ("os-set_bootable", {"bootable": "perhaps"}, "Invalid input for bootable:"),
    ("os-set_bootable", {"bootable": 1}, "Invalid input for bootable:"),
    ("os-terminate_connection", {}, "Invalid input for connector:"),
    ("os-terminate_connection", None, "Invalid input for os-terminate_connection:"),
    ("os-update_readonly_flag", {"readonly": None}, "Invalid input for readonly:"),
    ("revert", {}, "Invalid input for snapshot_id:"),
    ("os-nothing", {}, "no such action: 'os-nothing'"),
    (
        "os-volume_upload_image",
        {"image_name": "x"},
        "os-volume_upload_image is not supported: this service has no images",
    ),
    ("os-set_image_metadata", {"metadata": {"k": 1}}, "Invalid input for metadata['k']:"),
    ("os-set_image_metadata", {"metadata": {"": "v"}}, "Invalid input for metadata:"),
    ("os-set_image_metadata", {"metadata": {"k": "v" * 65536}}, "Invalid input for metadata['k']:"),
    ("os-set_image_metadata", {"metadata": None}, "Invalid input for metadata:"),
    ("os-unset_image_metadata", {}, "Invalid input for key:"),
    ("os-unset_image_metadata", {"key": ""}, "Invalid input for key:"),
]
ADMIN_REFUSED: list[tuple[str, Any, str]] = [
    ("os-migrate_volume", {"host": "h"}, "Invalid input for host:"),
    ("os-migrate_volume", {"host": "openevs@layers#layers"}, "Invalid input for host:"),
    ("os-migrate_volume", {"cluster": "c"}, "Invalid input for host:"),
    ("os-migrate_volume_completion", {"new_volume": GONE}, "os-migrate_volume_completion is not supported"),
    ("os-reset_status", {}, "Invalid input for os-reset_status:"),
    ("os-reset_status", {"status": "happy"}, "Invalid input for status:"),
    ("os-reset_status", {"status": "deleting"}, "Invalid input for status:"),
    ("os-reset_status", {"status": "in-use"}, "Invalid input for status:"),
    ("os-reset_status", {"attach_status": "glued"}, "Invalid input for attach_status:"),
    ("os-reset_status", {"attach_status": "attached"}, "Invalid input for attach_status:"),
    ("os-reset_status", {"migration_status": "migrating"}, "Invalid input for migration_status:"),
    ("os-force_detach", {"attachment_id": GONE}, "Invalid input for attachment_id:"),
]


def test_refusals_by_name(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        volume_id = (await client.volume())["id"]
        operator = await run.client("admin")
        client.version = "3.67"
        for actor, rows in ((client, REFUSED), (operator, ADMIN_REFUSED)):
            for action, content, text in rows:
                status, name, message = fault(await act(actor, volume_id, action, content))
                assert (status, name) == (400, "badRequest"), action
                assert text in message, (action, message)
        status, name, message = fault(await act(client, volume_id, "os-reimage", {"image_id": GONE}))
        assert (status, name) == (404, "itemNotFound")
        assert "'os-reimage' is there from microversion 3.68 on" in message
        client.version = "3.71"
        assert "os-reimage is not supported" in fault(await act(client, volume_id, "os-reimage", {"image_id": GONE}))[2]
        for action, content, _ in ADMIN_REFUSED:
            status, name, message = fault(await act(client, volume_id, action, content))
            assert (status, name) == (403, "forbidden")
            assert action in message
        url = f"/v3/{{p}}/volumes/{volume_id}/action"
        for body in (b"", b"[]", b"{}", b'{"os-reserve":null,"os-unreserve":null}'):
            assert fault(await client.call("POST", url, body))[:2] == (400, "badRequest")
        for action, content in (
            ("os-reserve", None),
            ("os-attach", ATTACH),
            ("os-retype", {"new_type": "x"}),
            ("os-detach", {}),
        ):
            assert fault(await act(client, GONE, action, content))[:2] == (404, "itemNotFound")
        for action, content in (("os-show_image_metadata", None), ("os-retype", {"new_type": "x"})):
            assert fault(await act(client, volume_id, action, content))[:2] == (404, "itemNotFound")
        assert await status_of(client, volume_id) == "available"

    at_work(tmp_path, work)


def test_revert(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        volume_id = (await client.volume())["id"]
        older = (await client.snapshot(volume_id))["id"]
        newest = (await client.snapshot(volume_id))["id"]
        foreign = (await client.snapshot((await client.volume())["id"]))["id"]
        client.version = "3.39"
        assert fault(await act(client, volume_id, "revert", {"snapshot_id": newest}))[:2] == (404, "itemNotFound")
        client.version = "3.40"
        for snapshot_id in (older, foreign):
            status, name, message = fault(await act(client, volume_id, "revert", {"snapshot_id": snapshot_id}))
            assert (status, name) == (400, "badRequest")
            assert "Invalid input for snapshot_id:" in message
        assert fault(await act(client, volume_id, "revert", {"snapshot_id": GONE}))[:2] == (404, "itemNotFound")
        for wrong in sorted(VOLUME_STATUSES - {"available"}):
            await set_volume(run, volume_id, wrong)
            status, name, message = fault(await act(client, volume_id, "revert", {"snapshot_id": newest}))
            assert (status, name) == (409, "conflictingRequest")
            assert f"its status is {wrong}, but must be available" in message
        await set_volume(run, volume_id, "available")
        assert (await act(client, volume_id, "revert", {"snapshot_id": newest})).status_code == 202
        await client.until("volume", volume_id, "available")
        await client.until("snapshot", newest, "available")
        assert (await act(client, volume_id, "os-extend", {"new_size": 2})).status_code == 202
        await client.until("volume", volume_id, "available")
        assert "equal sizes" in fault(await act(client, volume_id, "revert", {"snapshot_id": newest}))[2]

    at_work(tmp_path, work)


def test_what_administrators_do(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        volume_id = (await client.volume())["id"]
        operator = await run.client("admin")
        for content, expected in (
            ({"status": "ERROR"}, "error"),
            ({"status": "available", "migration_status": "none"}, "available"),
            ({"attach_status": "detached"}, "available"),
        ):
            assert (await act(operator, volume_id, "os-reset_status", content)).status_code == 202
            assert await status_of(client, volume_id) == expected
        assert (await act(client, volume_id, "os-attach", ATTACH)).status_code == 202
        assert (await act(operator, volume_id, "os-reset_status", {"status": "in-use"})).status_code == 202
        assert "detach it first" in fault(await act(operator, volume_id, "os-force_delete", {}))[2]
        assert (await act(operator, volume_id, "os-force_detach", {"connector": {}})).status_code == 202
        await set_volume(run, volume_id, "uploading")
        assert (await act(operator, volume_id, "os-force_delete", {})).status_code == 202
        await client.until("volume", volume_id, "gone")

        volume_id = (await client.volume())["id"]
        for value in (True, "false"):
            done = await act(client, volume_id, "os-set_bootable", {"bootable": value})
            assert (done.status_code, done.content) == (200, b"")
            shown = (await client.get(f"/v3/{{p}}/volumes/{volume_id}"))["volume"]["bootable"]
            assert shown == str(value).lower()

    at_work(tmp_path, work)


def test_image_metadata(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        volume_id = (await client.volume())["id"]
        one = f"/v3/{{p}}/volumes/{volume_id}"
        assert "volume_image_metadata" not in (await client.get(one))["volume"]
        set_ = await act(client, volume_id, "os-set_image_metadata", {"metadata": {"image_name": "a", "os": "x"}})
        assert (set_.status_code, set_.json()) == (200, {"metadata": {"image_name": "a", "os": "x"}})
        more = await act(client, volume_id, "os-set_image_metadata", {"metadata": {"os": "y", "text": "t" * 1000}})
        everything = {"image_name": "a", "os": "y", "text": "t" * 1000}
        assert more.json() == {"metadata": everything}
        assert (await client.get(one))["volume"]["volume_image_metadata"] == everything
        (listed,) = (await client.get("/v3/{p}/volumes/detail"))["volumes"]
        assert listed["volume_image_metadata"] == everything
        assert (await act(client, volume_id, "os-show_image_metadata")).json() == {"metadata": everything}
        gone = await act(client, volume_id, "os-unset_image_metadata", {"key": "text"})
        assert (gone.status_code, gone.content) == (200, b"")
        assert fault(await act(client, volume_id, "os-unset_image_metadata", {"key": "text"}))[:2] == (
            404,
            "itemNotFound",
        )
        found = (await client.get("/v3/{p}/volumes?glance_metadata={'os':'y'}"))["volumes"]
        assert [volume["id"] for volume in found] == [volume_id]
        assert (await client.get("/v3/{p}/volumes?glance_metadata={'os':'x'}"))["volumes"] == []

    at_work(tmp_path, work)


def test_copies_are_bootable_as_their_source_is(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        volume_id = (await client.volume())["id"]
        snapshot_id = (await client.snapshot(volume_id))["id"]
        known = {"image_name": "a", "os": "x"}
        await act(client, volume_id, "os-set_image_metadata", {"metadata": known})
        sources: list[dict[str, Any]] = [{"source_volid": volume_id}, {"snapshot_id": snapshot_id}]
        for source in sources:
            copy = await client.volume(**source)
            assert (copy["bootable"], "volume_image_metadata" in copy) == ("false", False)
        await act(client, volume_id, "os-set_bootable", {"bootable": True})
        for source in sources:
            copy = await client.volume(**source)
            assert (copy["bootable"], copy["volume_image_metadata"]) == ("true", known)
            await act(client, copy["id"], "os-set_image_metadata", {"metadata": {"os": "y"}})
            shown = (await client.get(f"/v3/{{p}}/volumes/{volume_id}"))["volume"]
            assert shown["volume_image_metadata"] == known

        # Its new owner's business shows in no copy of a snapshot that its former one has kept.
        client.version = "3.71"
        taker = await run.person("taker", "other", "member")
        body = {"transfer": {"volume_id": volume_id, "no_snapshots": True}}
        offer = (await client.call("POST", "/v3/{p}/volume-transfers", body)).json()["transfer"]
        key = {"accept": {"auth_key": offer["auth_key"]}}
        assert (await taker.call("POST", f"/v3/{{p}}/volume-transfers/{offer['id']}/accept", key)).status_code == 202
        await act(taker, volume_id, "os-set_image_metadata", {"metadata": {"secret": "s"}})
        copy = await client.volume(snapshot_id=snapshot_id)
        assert (copy["bootable"], "volume_image_metadata" in copy) == ("false", False)

    at_work(tmp_path, work)


def test_encryption_of_what_is_not_encrypted(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        path = f"/v3/{{p}}/volumes/{(await client.volume())['id']}/encryption"
        assert await client.get(path) == {"encryption_key_id": None}
        assert await client.get(path + "/encryption_key_id") is None
        assert fault(await client.call("GET", path + "/colour"))[:2] == (404, "itemNotFound")
        assert fault(await client.call("GET", f"/v3/{{p}}/volumes/{GONE}/encryption"))[:2] == (404, "itemNotFound")

    at_work(tmp_path, work)
