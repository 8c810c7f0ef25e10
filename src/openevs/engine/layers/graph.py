"""Which layer hangs on which, and what follows from it. Pure: no I/O, nothing is kept.

`parents` maps every known layer to the layer below it. `pinned` are the layers that something points at: the heads of
volumes and the layers of snapshots. A layer is live if it is pinned or below a live one; the others are orphans.
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import NewType

LayerId = NewType("LayerId", str)
Parents = Mapping[LayerId, LayerId | None]


@dataclass(frozen=True, slots=True)
class Merge:
    """Bring `upper`'s content down into `lower`, its parent, and put `lower` in `upper`'s place everywhere."""

    lower: LayerId
    upper: LayerId


class MissingLayerError(LookupError):
    """A layer that is needed is not there; `layer` says which."""

    def __init__(self, layer: LayerId) -> None:
        super().__init__(layer)
        self.layer = layer


def chain(parents: Parents, top: LayerId) -> tuple[LayerId, ...]:
    """Return `top` and all below it, topmost first. Raises MissingLayerError, also for a chain that bites its tail."""
    found: dict[LayerId, None] = {}
    layer: LayerId | None = top
    while layer is not None:
        if layer not in parents or layer in found:
            raise MissingLayerError(layer)
        found[layer] = None
        layer = parents[layer]
    return tuple(found)


def live(parents: Parents, pinned: Iterable[LayerId]) -> set[LayerId]:
    """Return every layer that something needs."""
    found: set[LayerId] = set()
    for top in pinned:
        layer: LayerId | None = top
        while layer is not None and layer not in found:
            found.add(layer)
            layer = parents.get(layer)
    return found


def orphans(parents: Parents, pinned: Iterable[LayerId]) -> set[LayerId]:
    """Return every layer that nothing needs."""
    return set(parents) - live(parents, pinned)


def children(parents: Parents, among: Set[LayerId]) -> dict[LayerId, list[LayerId]]:
    """Return, for every layer of `among`, those of `among` that hang directly on it."""
    found: dict[LayerId, list[LayerId]] = {layer: [] for layer in among}
    for layer in among:
        parent = parents.get(layer)
        if parent in found:
            found[parent].append(layer)
    return found


def merges(parents: Parents, pinned: Set[LayerId]) -> list[Merge]:
    """Return what could be merged: each layer that nothing points at and on which exactly one layer hangs.

    With several children its bytes are needed by each of them, and merging would copy them; it stays, hidden."""
    below = children(parents, live(parents, pinned))
    return sorted(
        (Merge(lower, uppers[0]) for lower, uppers in below.items() if lower not in pinned and len(uppers) == 1),
        key=lambda merge: merge.lower,
    )
