"""How each kind of operation is set up and started, and what must hold when it has ended.

`SCENARIOS` is the table from which every test of operations is made. A kind of the catalog that is not in it is a
failed test, not a kind without tests.
"""

from tests.operations.scenarios import attachments, backups, groups, managing, snapshots, transfers, types, volumes

SCENARIOS = (
    *attachments.SCENARIOS,
    *backups.SCENARIOS,
    *groups.SCENARIOS,
    *managing.SCENARIOS,
    *snapshots.SCENARIOS,
    *transfers.SCENARIOS,
    *types.SCENARIOS,
    *volumes.SCENARIOS,
)
