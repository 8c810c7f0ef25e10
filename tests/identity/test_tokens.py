"""Issuing, verifying and revoking tokens."""

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa

from openevs.domain.errors import Forbidden, NotFound, Unauthenticated
from openevs.identity.login import REFUSAL, Ref
from openevs.identity.projects import NewProject, create_project, delete_project, update_project
from openevs.identity.roles import Target, assign_role, list_roles, unassign_role
from openevs.identity.tokens import Scope, issue_by_password, issue_by_token, revoke, sweep, validate
from openevs.identity.users import change_password, delete_user, update_user
from openevs.store.database import Tx
from openevs.store.tables import token as token_table
from openevs.testing.clock import ManualClock
from openevs.testing.identity import DEMO, Cast


def test_a_token_stands_for_user_project_and_roles(cast: Cast, clock: ManualClock) -> None:
    async def scenario() -> None:
        issued = await cast.login("admin", cast.admin_password, DEMO)
        assert len(issued.token) == 43
        assert await cast.identity.verify(issued.token) == issued.grant
        grant = issued.grant
        assert (grant.user_name, grant.project_name, grant.project_id) == ("admin", "demo", cast.demo_project_id)
        assert grant.roles == {"admin", "member", "reader"}
        assert (await cast.demo()).roles == {"member", "reader"}
        assert grant.expires_at - grant.issued_at == timedelta(hours=2)
        assert grant.methods == ("password",)
        assert issued.token not in repr(issued)

    asyncio.run(scenario())


def test_the_database_holds_no_token_and_no_password(cast: Cast) -> None:
    async def scenario() -> None:
        issued = await cast.login("demo", cast.demo_password, DEMO)
        cast.identity.db.close()
        path = sa.make_url(cast.identity.db.url).database
        assert path is not None
        with open(path, "rb") as file:  # noqa: ASYNC230, PTH123 - nothing else runs here
            content = file.read()
        assert issued.token.encode() not in content
        assert cast.demo_password.encode() not in content

    asyncio.run(scenario())


def test_scopes(cast: Cast) -> None:
    async def scenario() -> None:
        async def login(
            scope: Scope, name: str = "admin", password: str = cast.admin_password
        ) -> tuple[str | None, bool]:
            grant = (await cast.login(name, password, scope)).grant
            return grant.project_name, grant.domain_scoped

        assert await login(Scope("default")) == ("admin", False)
        assert await login(Scope("unscoped")) == (None, False)
        assert await login(Scope("domain", Ref(domain_name="default"))) == (None, True)
        assert await login(Scope("project", Ref(name="demo"))) == ("demo", False)
        assert await login(Scope("project", Ref(id=cast.demo_project_id))) == ("demo", False)
        for bad in (
            Scope("project", Ref(id="0" * 32)),
            Scope("project", Ref(name="nowhere")),
            Scope("project", Ref(name="demo", domain_name="elsewhere")),
            Scope("domain", Ref(domain_id="elsewhere")),
        ):
            with pytest.raises(Unauthenticated, match="no role"):
                await login(bad)
        for bad in (Scope("project", Ref(name="admin")), Scope("domain", Ref(domain_id="default"))):
            with pytest.raises(Unauthenticated, match="no role"):
                await login(bad, "demo", cast.demo_password)

    asyncio.run(scenario())


def test_a_default_project_that_will_not_do_gives_an_unscoped_token(cast: Cast) -> None:
    async def scenario() -> None:
        admin = await cast.admin()
        await update_project(cast.identity, admin, cast.demo_project_id, {"enabled": False})
        grant = (await cast.login("demo", cast.demo_password, Scope("default"))).grant
        assert (grant.project_id, grant.roles) == (None, frozenset())
        with pytest.raises(Unauthenticated, match="no role"):
            await cast.login("demo", cast.demo_password, DEMO)

    asyncio.run(scenario())


def test_wrong_names_and_wrong_passwords_look_alike(cast: Cast) -> None:
    async def scenario() -> None:
        refs = [
            Ref(name="demo"),
            Ref(name="nobody"),
            Ref(id="0" * 32),
            Ref(),
            Ref(name="admin", domain_name="elsewhere"),
        ]
        for ref in refs:
            with pytest.raises(Unauthenticated) as caught:
                await issue_by_password(cast.identity, ref, "wrong", DEMO)
            assert str(caught.value) == REFUSAL
        demo = await cast.demo()
        await update_user(cast.identity, await cast.admin(), demo.user_id, {"enabled": False})
        with pytest.raises(Unauthenticated) as caught:
            await cast.login("demo", cast.demo_password, DEMO)
        assert str(caught.value) == REFUSAL

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["demo", "nobody"])
def test_failures_make_wait_whether_the_user_exists_or_not(cast: Cast, clock: ManualClock, name: str) -> None:
    async def scenario() -> None:
        demo = await cast.demo()
        for _ in range(3):
            with pytest.raises(Unauthenticated, match="wrong"):
                await cast.login(name, "wrong", DEMO)
        with pytest.raises(Unauthenticated, match="try again in 1 seconds"):
            await cast.login(name, cast.demo_password, DEMO)
        if name == "demo":
            with pytest.raises(Unauthenticated, match="try again"):
                await issue_by_password(cast.identity, Ref(id=demo.user_id), cast.demo_password, DEMO)
            clock.advance(1)
            await cast.login(name, cast.demo_password, DEMO)
            with pytest.raises(Unauthenticated, match="wrong"):
                await cast.login(name, "wrong", DEMO)
            await cast.login(name, cast.demo_password, DEMO)

    asyncio.run(scenario())


def test_many_guesses_at_a_time_are_no_more_than_few_in_a_row(cast: Cast) -> None:
    async def scenario() -> None:
        guesses = ["wrong"] * 20 + [cast.demo_password]
        answers = await asyncio.gather(*(cast.login("demo", g, DEMO) for g in guesses), return_exceptions=True)
        assert all(isinstance(answer, Unauthenticated) for answer in answers)
        assert sum(str(answer) == REFUSAL for answer in answers) <= 4

    asyncio.run(scenario())


def test_right_logins_at_a_time_do_not_get_in_each_others_way(cast: Cast) -> None:
    async def scenario() -> None:
        issued = await asyncio.gather(*(cast.login("demo", cast.demo_password, DEMO) for _ in range(20)))
        assert len({one.token for one in issued}) == 20

    asyncio.run(scenario())


def test_a_token_ends_at_its_hour_and_is_swept(cast: Cast, clock: ManualClock) -> None:
    async def scenario() -> None:
        old = await cast.login("demo", cast.demo_password, DEMO)
        clock.advance(7199)
        young = await cast.login("demo", cast.demo_password, DEMO)
        assert await cast.identity.verify(old.token) == old.grant
        assert await sweep(cast.identity) == 0
        clock.advance(1)
        assert await cast.identity.verify(old.token) is None
        assert await sweep(cast.identity) == 1
        assert await sweep(cast.identity) == 0
        assert await cast.identity.verify(young.token) == young.grant

    asyncio.run(scenario())


def test_a_token_for_a_token_ends_with_it(cast: Cast, clock: ManualClock) -> None:
    async def scenario() -> None:
        first = await cast.login("admin", cast.admin_password, Scope("unscoped"))
        clock.advance(100)
        second = await issue_by_token(cast.identity, first.token, DEMO)
        assert second.grant.project_name == "demo"
        assert second.grant.expires_at == first.grant.expires_at
        assert second.grant.methods == ("token", "password")
        third = await issue_by_token(cast.identity, second.token, DEMO)
        assert third.grant.methods == ("token", "password")
        for bad in ("", "x" * 43, first.token + "x", "ü" * 43):
            with pytest.raises(Unauthenticated):
                await issue_by_token(cast.identity, bad, DEMO)

    asyncio.run(scenario())


def test_revoking_is_at_once_and_only_for_ones_own(cast: Cast) -> None:
    async def scenario() -> None:
        admin = await cast.admin()
        issued = await cast.login("demo", cast.demo_password, DEMO)
        other = await cast.login("admin", cast.admin_password, DEMO)
        assert await validate(cast.identity, issued.grant, issued.token) == issued.grant
        assert await validate(cast.identity, admin, issued.token) == issued.grant
        for use_case in (validate, revoke):
            with pytest.raises(Forbidden):
                await use_case(cast.identity, issued.grant, other.token)
        await revoke(cast.identity, issued.grant, issued.token)
        assert await cast.identity.verify(issued.token) is None
        with pytest.raises(NotFound) as caught:
            await validate(cast.identity, admin, issued.token)
        assert issued.token not in str(caught.value)

    asyncio.run(scenario())


def test_changes_take_tokens_back_at_once(cast: Cast) -> None:
    async def scenario() -> None:
        identity, admin = cast.identity, await cast.admin()
        member = next(role for role in await list_roles(identity, "member"))
        project = await create_project(identity, admin, NewProject("p"))
        target = Target("project", project.id)

        async def fresh() -> str:
            issued = await cast.login("demo", cast.demo_password, Scope("project", Ref(name="p")))
            assert await identity.verify(issued.token) is not None
            return issued.token

        user_id = (await cast.demo()).user_id
        await assign_role(identity, admin, target, user_id, member.id)

        token = await fresh()
        await unassign_role(identity, admin, target, user_id, member.id)
        assert await identity.verify(token) is None
        await assign_role(identity, admin, target, user_id, member.id)

        token = await fresh()
        await update_project(identity, admin, project.id, {"enabled": False})
        await update_project(identity, admin, project.id, {"enabled": True})
        assert await identity.verify(token) is None

        token = await fresh()
        await update_user(identity, admin, user_id, {"enabled": False})
        await update_user(identity, admin, user_id, {"enabled": True})
        assert await identity.verify(token) is None

        token = await fresh()
        await change_password(identity, user_id, cast.demo_password, "other")
        assert await identity.verify(token) is None
        await update_user(identity, admin, user_id, {"password": cast.demo_password})

        token = await fresh()
        await delete_project(identity, admin, project.id)
        assert await identity.verify(token) is None

        token = (await cast.login("demo", cast.demo_password, DEMO)).token
        await delete_user(identity, admin, user_id)
        assert await identity.verify(token) is None

    asyncio.run(scenario())


def test_known_tokens_are_not_looked_up_but_never_kept_longer_than_promised(cast: Cast, clock: ManualClock) -> None:
    def forget(tx: Tx) -> None:
        tx.execute(token_table.delete())

    async def scenario() -> None:
        issued = await cast.login("demo", cast.demo_password, DEMO)
        assert await cast.identity.verify(issued.token) is not None
        await cast.identity.db.write(forget)  # as another process would
        clock.advance(4.9)
        assert await cast.identity.verify(issued.token) is not None
        clock.advance(0.1)
        assert await cast.identity.verify(issued.token) is None

    asyncio.run(scenario())


def test_a_change_whose_caller_went_away_still_counts(cast: Cast) -> None:
    async def scenario() -> None:
        issued = await cast.login("demo", cast.demo_password, DEMO)
        await cast.identity.verify(issued.token)
        task = asyncio.create_task(revoke(cast.identity, issued.grant, issued.token))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(200):
            if await cast.identity.verify(issued.token) is None:
                return
            await asyncio.sleep(0.01)
        pytest.fail("the revoked token is still taken")

    asyncio.run(scenario())


def test_a_password_changed_during_a_login_wins(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        admin, demo = await cast.admin(), await cast.demo()
        matches = cast.identity.passwords.matches

        async def meanwhile(password: str, kept: str | None) -> bool:
            right = await matches(password, kept)
            await update_user(cast.identity, admin, demo.user_id, {"password": "new"})
            return right

        monkeypatch.setattr(cast.identity.passwords, "matches", meanwhile)
        with pytest.raises(Unauthenticated):
            await cast.login("demo", cast.demo_password, DEMO)

    asyncio.run(scenario())
