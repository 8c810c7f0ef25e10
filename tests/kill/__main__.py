"""`python -m tests.kill`: kill the service, or its daemons, again and again under load, and print what was found."""

import argparse
import asyncio
import random
import sys

from tests.kill.rounds import TARGETS, Figures, NoRoom, run
from tests.kill.service import PROGRAM


def main() -> int:
    """Run, print the figures, and return 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.kill", description=__doc__)
    parser.add_argument("--rounds", type=int, default=50, help="rounds for each target (default: 50)")
    parser.add_argument("--target", choices=[*TARGETS, "all"], default="service", help="what is killed")
    parser.add_argument("--seed", type=int, default=None, help="of the random load and moments (default: a new one)")
    parser.add_argument("--program", default=PROGRAM, help="the module that serves (default: the command line's)")
    given = parser.parse_args()
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(1 << 32)
    status = 0
    for target in TARGETS if given.target == "all" else (given.target,):
        try:
            figures = asyncio.run(run(target, given.rounds, seed, given.program, progress=sys.stdout.isatty()))
        except NoRoom as error:
            print(error)  # noqa: T201
            return 2
        print(report(figures))  # noqa: T201
        status = status or int(bool(figures.wrong))
    return status


def report(figures: Figures) -> str:
    """Return the figures as a table, and every violation."""
    rows = list(figures.lines())
    width = max(len(name) for name, _ in rows)
    lines = ["", *(f"{name:<{width}}  {value}" for name, value in rows)]
    lines += [f"VIOLATION: {text}" for text in figures.wrong]
    if figures.folder:
        lines.append(f"The data and the service's log are kept in {figures.folder}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
