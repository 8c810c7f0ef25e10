"""A filled identity service and the people in it, for tests."""

from typing import Final

from openevs.identity.bootstrap import Bootstrap
from openevs.identity.embedded import EmbeddedIdentity
from openevs.identity.login import Ref
from openevs.identity.port import Grant
from openevs.identity.tokens import Issued, Scope, issue_by_password

DEMO: Final = Scope("project", Ref(name="demo", domain_id="default"))
"""The scope of project demo."""


class Cast:
    """A filled identity service and the people in it."""

    def __init__(self, identity: EmbeddedIdentity, made: Bootstrap) -> None:
        self.identity = identity
        self.made = made
        self.admin_password = made.admin_password or ""
        self.demo_password = made.demo_password or ""
        self.demo_project_id = made.demo_project_id or ""

    async def admin(self) -> Grant:
        """Return the administrator's grant on project demo."""
        return (await self.login("admin", self.admin_password, DEMO)).grant

    async def demo(self) -> Grant:
        """Return the demo user's grant on project demo."""
        return (await self.login("demo", self.demo_password, DEMO)).grant

    async def login(self, name: str, password: str, scope: Scope) -> Issued:
        """Log in by name."""
        return await issue_by_password(self.identity, Ref(name=name, domain_name="Default"), password, scope)
