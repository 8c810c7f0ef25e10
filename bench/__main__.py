"""`python -m bench [name …] [--quick]`: measure, print the table, and after a full run write docs/performance.md."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from bench import backup, groups, listing, live, memory, report, scaling, throughput
from bench.figures import HEADER, Row
from bench.rig import Rig, folder_for
from openevs.demo.table import render

MEASUREMENTS: dict[str, Callable[[Rig], list[Row]]] = {
    "live": live.measure,
    "groups": groups.measure,
    "sizes": scaling.measure_sizes,
    "snapshots": scaling.measure_snapshots,
    "pool": scaling.measure_pool,
    "lists": listing.measure,
    "throughput": throughput.measure,
    "memory": memory.measure,
    "backup": backup.measure,
}
DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"


def main() -> int:
    """Run; the exit status says whether every promise is kept."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure what is promised about speed.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(MEASUREMENTS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="few rounds: shows that it works, proves nothing")
    parser.add_argument("--folder", type=Path, help="a folder on the disk to measure (default: the system's temporary)")
    given = parser.parse_args()
    unknown = set(given.names) - MEASUREMENTS.keys()
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(MEASUREMENTS)}")
    names = given.names or list(MEASUREMENTS)
    rows: list[Row] = []
    with folder_for(given.folder) as folder:
        place = report.place(folder)
        for name in names:
            print(f"measuring {name} …", file=sys.stderr, flush=True)
            rows += MEASUREMENTS[name](Rig(folder, given.quick))
    print(render([row.cells() for row in rows], HEADER))
    for row in rows:
        print(f"\n{row.what}\n  measured: {row.measured.spread()}\n  against {row.against}: {row.limit.spread()}")
        print("".join(f"  {note}\n" for note in row.notes), end="")
    if not given.names and not given.quick:
        report.write(DOCUMENT, rows, place)
    return 0 if all(row.kept for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
