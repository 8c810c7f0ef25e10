"""Users, projects, roles, the catalog."""

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from openevs.domain.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthenticated
from openevs.identity.catalog import PROJECT, catalog
from openevs.identity.projects import (
    NewProject,
    create_project,
    delete_project,
    get_project,
    list_projects,
    list_projects_of_user,
    list_scopes,
    update_project,
)
from openevs.identity.roles import (
    AssignmentFilter,
    Target,
    assign_role,
    check_assignment,
    get_role,
    list_assignments,
    list_roles,
    list_roles_on,
    unassign_role,
)
from openevs.identity.users import (
    NewUser,
    change_password,
    create_user,
    delete_user,
    get_user,
    list_users,
    update_user,
)
from openevs.store import tables
from openevs.store.identity.projects import Project
from openevs.store.identity.roles import Assignment, Role
from openevs.store.identity.tokens import Token
from openevs.store.identity.users import User
from openevs.testing.identity import DEMO, Cast


def test_life_of_a_user(cast: Cast) -> None:
    async def scenario() -> None:
        identity, admin, demo = cast.identity, await cast.admin(), await cast.demo()
        made = await create_user(identity, admin, NewUser(" anna ", "pw", default_project_id=cast.demo_project_id))
        assert made.name == "anna"
        assert await get_user(identity, admin, made.id) == made
        assert [user.name for user in await list_users(identity, admin)] == ["admin", "anna", "demo"]
        assert await list_users(identity, admin, name="anna", enabled=False) == []
        with pytest.raises(Conflict, match="anna"):
            await create_user(identity, admin, NewUser("anna"))
        with pytest.raises(Conflict, match="demo"):
            await update_user(identity, admin, made.id, {"name": "demo"})
        changed = await update_user(identity, admin, made.id, {"name": "anna", "email": None, "description": "x"})
        assert changed == made._replace(description="x")
        assert await update_user(identity, admin, made.id, {}) == changed
        for bad in (NewUser(" "), NewUser("a" * 256), NewUser("b", ""), NewUser("b", default_project_id="none")):
            with pytest.raises(InvalidInput, match=r"user\."):
                await create_user(identity, admin, bad)
        assert (await get_user(identity, demo, demo.user_id)).name == "demo"
        with pytest.raises(Forbidden):
            await get_user(identity, demo, admin.user_id)
        for refused in (
            list_users(identity, demo),
            create_user(identity, demo, NewUser("c")),
            update_user(identity, demo, demo.user_id, {"enabled": True}),
            delete_user(identity, demo, made.id),
        ):
            with pytest.raises(Forbidden):
                await refused
        await delete_user(identity, admin, made.id)
        for missing in (
            get_user(identity, admin, made.id),
            delete_user(identity, admin, made.id),
            update_user(identity, admin, made.id, {"name": "z"}),
        ):
            with pytest.raises(NotFound):
                await missing

    asyncio.run(scenario())


def test_a_user_without_a_password_cannot_log_in(cast: Cast) -> None:
    async def scenario() -> None:
        await create_user(cast.identity, await cast.admin(), NewUser("ghost"))
        for guess in ("", "x"):
            with pytest.raises(Unauthenticated):
                await cast.login("ghost", guess, DEMO)

    asyncio.run(scenario())


def test_a_user_changes_the_own_password_by_the_old_one(cast: Cast) -> None:
    async def scenario() -> None:
        user_id = (await cast.demo()).user_id
        with pytest.raises(Unauthenticated):
            await change_password(cast.identity, user_id, "wrong", "new")
        with pytest.raises(InvalidInput):
            await change_password(cast.identity, user_id, cast.demo_password, "")
        await change_password(cast.identity, user_id, cast.demo_password, "new")
        await cast.login("demo", "new", DEMO)
        with pytest.raises(Unauthenticated):
            await cast.login("demo", cast.demo_password, DEMO)

    asyncio.run(scenario())


def test_life_of_a_project(cast: Cast) -> None:
    async def scenario() -> None:
        identity, admin, demo = cast.identity, await cast.admin(), await cast.demo()
        made = await create_project(identity, admin, NewProject("p", "words"))
        assert await get_project(identity, admin, made.id) == made
        assert [project.name for project in await list_projects(identity, admin)] == ["admin", "demo", "p"]
        assert [project.name for project in await list_projects(identity, demo)] == ["demo"]
        assert [project.name for project in await list_projects(identity, admin, name="p")] == ["p"]
        assert [project.name for project in await list_scopes(identity, admin)] == ["admin", "demo"]
        assert [p.name for p in await list_projects_of_user(identity, admin, demo.user_id)] == ["demo"]
        with pytest.raises(NotFound):
            await get_project(identity, demo, made.id)
        with pytest.raises(Conflict):
            await create_project(identity, admin, NewProject("demo"))
        with pytest.raises(Conflict):
            await update_project(identity, admin, made.id, {"name": "demo"})
        changed = await update_project(identity, admin, made.id, {"name": "q", "enabled": False})
        assert changed == made._replace(name="q", enabled=False)
        assert await list_projects(identity, admin, enabled=False) == [changed]
        for refused in (
            create_project(identity, demo, NewProject("x")),
            update_project(identity, demo, made.id, {"name": "x"}),
            delete_project(identity, demo, made.id),
            list_projects_of_user(identity, demo, admin.user_id),
        ):
            with pytest.raises(Forbidden):
                await refused
        await update_user(identity, admin, demo.user_id, {"default_project_id": made.id})
        await delete_project(identity, admin, made.id)
        assert (await get_user(identity, admin, demo.user_id)).default_project_id is None
        for missing in (
            delete_project(identity, admin, made.id),
            update_project(identity, admin, made.id, {"name": "x"}),
        ):
            with pytest.raises(NotFound):
                await missing

    asyncio.run(scenario())


def test_roles_are_given_and_taken_and_imply_others(cast: Cast) -> None:
    async def scenario() -> None:
        identity, admin, demo = cast.identity, await cast.admin(), await cast.demo()
        ids = {role.name: role.id for role in await list_roles(identity)}
        assert (await get_role(identity, ids["reader"])).name == "reader"
        project = await create_project(identity, admin, NewProject("p"))
        target = Target("project", project.id)
        for _ in range(2):
            await assign_role(identity, admin, target, demo.user_id, ids["member"])
        await check_assignment(identity, admin, target, demo.user_id, ids["member"])
        assert [role.name for role in await list_roles_on(identity, demo, target, demo.user_id)] == ["member"]

        wanted = AssignmentFilter(user_id=demo.user_id, target=target)
        assert [a.role_name for a in await list_assignments(identity, demo, wanted)] == ["member"]
        effective = await list_assignments(identity, demo, wanted, effective=True)
        assert [a.role_name for a in effective] == ["member", "reader"]
        by_role = wanted._replace(role_id=ids["reader"])
        assert await list_assignments(identity, demo, by_role) == []
        assert len(await list_assignments(identity, demo, by_role, effective=True)) == 1
        for too_much in (AssignmentFilter(), AssignmentFilter(user_id=admin.user_id)):
            with pytest.raises(Forbidden):
                await list_assignments(identity, demo, too_much)

        for change in (assign_role, unassign_role):
            with pytest.raises(Forbidden):
                await change(identity, demo, target, demo.user_id, ids["admin"])
            for at, who, what in (
                (Target("project", "none"), demo.user_id, ids["member"]),
                (Target("domain", "none"), demo.user_id, ids["member"]),
                (target, "none", ids["member"]),
                (target, demo.user_id, "none"),
            ):
                with pytest.raises(NotFound):
                    await change(identity, admin, at, who, what)
        await unassign_role(identity, admin, target, demo.user_id, ids["member"])
        for missing in (
            unassign_role(identity, admin, target, demo.user_id, ids["member"]),
            check_assignment(identity, admin, target, demo.user_id, ids["member"]),
            get_role(identity, "none"),
        ):
            with pytest.raises(NotFound):
                await missing

    asyncio.run(scenario())


def test_catalog_leads_every_name_of_block_storage_to_this_service() -> None:
    services = {service.type: service for service in catalog("http://evs.test/", "here", "p" * 32)}
    urls = {kind: {endpoint.url for endpoint in service.endpoints} for kind, service in services.items()}
    v3 = {"http://evs.test/v3/" + "p" * 32}
    assert urls == {
        "block-storage": v3,
        "volumev3": v3,
        "volume": v3,
        "volumev2": {"http://evs.test/v2/" + "p" * 32},
        "identity": {"http://evs.test/identity/v3"},
    }
    assert [e.interface for e in services["volume"].endpoints] == ["public", "internal", "admin"]
    assert {endpoint.region for service in services.values() for endpoint in service.endpoints} == {"here"}
    assert [service.type for service in catalog("http://evs.test", "here", None)] == ["identity"]
    listed = catalog("http://evs.test", "here", PROJECT)
    assert [service.id for service in listed] == [service.id for service in services.values()]
    assert listed[0].endpoints[0].url == "http://evs.test/v3/$(project_id)s"


@pytest.mark.parametrize(
    ("record", "table"),
    [
        (User, tables.user),
        (Project, tables.project),
        (Role, tables.role),
        (Assignment, tables.role_assignment),
        (Token, tables.token),
    ],
)
def test_records_have_the_columns_of_their_table_in_its_order(record: Any, table: sa.Table) -> None:
    assert list(record._fields) == [column.name for column in table.c]
