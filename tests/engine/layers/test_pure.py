"""The parts without processes: qcow2 headers, the graph of layers, manifests."""

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from openevs import durable
from openevs.domain.ids import SnapshotId, VolumeId
from openevs.engine.layers import exports, graph, manifest, qcow2
from openevs.engine.layers.faults import from_os_error, from_qemu
from openevs.engine.layers.graph import LayerId, Merge, MissingLayerError
from openevs.engine.layers.pool import Pool, new_layer_id


def ids(text: str) -> list[LayerId]:
    return [LayerId(letter) for letter in text]


def tree(text: str) -> dict[LayerId, LayerId | None]:
    """`a< b<a c<a`: layer, and what it hangs on."""
    pairs = [word.split("<") for word in text.split()]
    return {LayerId(layer): LayerId(parent) if parent else None for layer, parent in pairs}


def test_chain_is_topmost_first() -> None:
    assert graph.chain(tree("a< b<a c<b x<a"), LayerId("c")) == tuple(ids("cba"))


@pytest.mark.parametrize("text", ["c<b", "c<c", "c<b b<c"])
def test_a_chain_with_a_gap_or_a_loop_is_refused(text: str) -> None:
    with pytest.raises(MissingLayerError):
        graph.chain(tree(text), LayerId("c"))


def test_orphans_are_what_nothing_reaches() -> None:
    parents = tree("a< b<a c<b x<a y<x")
    assert graph.orphans(parents, ids("b")) == set(ids("cxy"))
    assert graph.orphans(parents, ids("cy")) == set()
    assert graph.live(parents, ids("y")) == set(ids("axy"))


def test_a_layer_is_merged_if_nothing_points_at_it_and_one_layer_hangs_on_it() -> None:
    parents = tree("a< b<a c<b")
    assert graph.merges(parents, set(ids("c"))) == [Merge(*ids("ab")), Merge(*ids("bc"))]
    assert graph.merges(parents, set(ids("bc"))) == [Merge(*ids("ab"))]
    assert graph.merges(parents, set(ids("abc"))) == []
    assert graph.merges(tree("a< b<a c<a"), set(ids("bc"))) == []
    assert graph.merges(tree("a< b<a c<a"), set(ids("b"))) == [Merge(*ids("ab"))], "an orphan is no child"


@pytest.mark.parametrize("size", [512, 1 << 30, (1 << 30) + 512, 1 << 40, 16 << 40, 17 << 40, 64 << 40])
@pytest.mark.parametrize("parent", [None, "base.qcow2"])
def test_qemu_agrees_with_the_empty_layers_we_write(tmp_path: Path, size: int, parent: str | None) -> None:
    qcow2.write_empty(tmp_path / "base.qcow2", 512, 17, None)
    path = tmp_path / "layer.qcow2"
    qcow2.write_empty(path, size, 17, parent)
    assert qcow2.read_header(path) == qcow2.Header(size, parent)
    assert path.stat().st_blocks * 512 <= 16384
    subprocess.run(["qemu-img", "check", "-q", str(path)], check=True)
    said = json.loads(
        subprocess.run(["qemu-img", "info", "--output=json", str(path)], check=True, capture_output=True).stdout
    )
    assert (said["virtual-size"], said.get("backing-filename"), said.get("backing-filename-format")) == (
        size, parent, "qcow2" if parent else None,
    )  # fmt: skip
    assert said["format-specific"]["data"]["extended-l2"]


def test_a_parent_is_replaced_in_place(tmp_path: Path) -> None:
    for name in ("a", "b"):
        qcow2.write_empty(tmp_path / f"{name}.qcow2", 1 << 20, 17, None)
    path = tmp_path / "c.qcow2"
    qcow2.write_empty(path, 1 << 20, 17, "a.qcow2")
    qcow2.replace_parent(path, "b.qcow2")
    assert qcow2.read_header(path).parent == "b.qcow2"
    subprocess.run(["qemu-img", "check", "-q", str(path)], check=True)
    with pytest.raises(qcow2.Qcow2Error):
        qcow2.replace_parent(path, "longer.qcow2")


@pytest.mark.parametrize("data", [b"", b"QFI\xfb", bytes(512), b"QFI\xfb" + bytes(3) + b"\x02" + bytes(500)])
def test_what_is_no_layer_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "damaged.qcow2"
    path.write_bytes(data)
    with pytest.raises(qcow2.Qcow2Error, match=r"damaged\.qcow2"):
        qcow2.read_header(path)


def test_no_layer_is_left_where_none_could_be_made(tmp_path: Path) -> None:
    path = tmp_path / "layer.qcow2"
    path.write_text("precious")
    with pytest.raises(FileExistsError):
        qcow2.write_empty(path, 1 << 20, 17, None)
    assert path.read_text() == "precious"


def a_manifest() -> manifest.Manifest:
    snapshot = manifest.Snapshot(LayerId("a"), 512, datetime(2026, 1, 2, tzinfo=UTC), {"k": "v"}, 1.5, None, True)
    return manifest.Manifest(
        VolumeId("v"), 1024, LayerId("b"), {"name": "x"}, 7, {SnapshotId("s"): snapshot},
        manifest.Export("tcp", False, "::1", 10810, "ab"), 3,
    )  # fmt: skip


def test_a_manifest_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    durable.replace_file(path, manifest.encode(a_manifest()))
    assert manifest.read(path) == a_manifest()
    assert path.stat().st_mode & 0o777 == 0o600, "it holds keys"
    assert [each.name for each in tmp_path.iterdir()] == ["v.json"]


def test_a_manifest_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "v.json"
    durable.replace_file(path, b"old")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", full)
    with pytest.raises(OSError, match="No space"):
        durable.replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["v.json"]


@pytest.mark.parametrize(
    ("name", "text"), [("v", "{"), ("v", "{}"), ("other", None), ("v", '{"format": 2}')], ids=range(4)
)
def test_a_damaged_manifest_is_refused_by_name(tmp_path: Path, name: str, text: str | None) -> None:
    path = tmp_path / f"{name}.json"
    path.write_bytes(text.encode() if text else manifest.encode(a_manifest()))
    with pytest.raises(manifest.ManifestError, match=f"{name}.json"):
        manifest.read(path)


def test_what_daemons_hold_has_the_names_that_other_versions_look_for() -> None:
    volume_id = VolumeId("4f5f6a5e-6c1b-4f0e-8d6b-1f2e3d4c5b6a")
    assert exports.node_name(LayerId("0123abcd-4567-89ef-0123-456789abcdef")) == "lASOrzUVn"
    assert exports.file_name("lASOrzUVn") == "fASOrzUVn"
    assert exports.export_id(volume_id) == "export-vKseZJja"
    assert exports.filter_name(volume_id) == "tvKseZJja"
    assert exports.limits_id(volume_id) == "gvKseZJja"


def test_moving_a_layer_moves_heads_and_snapshots() -> None:
    moved = a_manifest().moved(LayerId("a"), LayerId("n")).moved(LayerId("b"), LayerId("m"))
    assert moved.layers() == {LayerId("n"), LayerId("m")}
    assert a_manifest().pending()


def test_a_layer_that_was_not_finished_is_removed_and_never_taken_for_one(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    pool = Pool(tmp_path / "pool", 17)
    pool.open()
    whole = new_layer_id()
    pool.create_layer(whole, 1 << 30, None)
    torn = pool.layers / f"{new_layer_id()}.new"
    torn.touch()
    found, damaged = pool.read_layers()
    assert (list(found), damaged) == ([whole], [])
    assert not torn.exists()
    pool.close()


def test_reasons_reach_users_without_telling_where_the_pool_is() -> None:
    gone = FileNotFoundError(2, "No such file or directory", "/srv/tenants/pool/layers/one.qcow2")
    says = "Could not open '/srv/tenants/pool/layers/one.qcow2': No such file or directory"
    for error in (from_os_error(gone), from_qemu(says)):
        assert "layers/one.qcow2" in error.reason
        assert "No such file" in error.reason
        assert "srv" not in error.reason
