"""Run by Alembic: migrates over the connection that `openevs.store.schema` hands in, inside its transaction."""

from alembic import context

from openevs.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite has it, but Alembic does not count on it; `schema.migrate` has begun the transaction by itself.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
