"""`openevs` with a mistake planted in it: what must be frozen at one instant is frozen one volume after the other.

The kill test's check of groups must find it: `python -m tests.kill --program tests.kill.apart`.
"""

from openevs.operations import freezing

freezing.FREEZE = freezing.FREEZE[1:]  # type: ignore[assignment]  # one step fewer; before operations are made of it

from openevs.cli import main  # noqa: E402 - see above

if __name__ == "__main__":
    main()
