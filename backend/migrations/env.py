"""Alembic's entry: run inside the connection and the transaction that `migrate` opened."""

import importlib
import pkgutil

from alembic import context
from sqlmodel import SQLModel

import backend.drivers.db

for module in pkgutil.iter_modules(backend.drivers.db.__path__):
    if module.name.startswith("tables_"):  # so that the metadata is whole when revisions are compared with it
        importlib.import_module(f"backend.drivers.db.{module.name}")


def ours(name: str | None, kind: str, _parents: object) -> bool:
    """The job queue brings tables of its own; they are not declared here."""
    return not (kind == "table" and name is not None and name.startswith("procrastinate_"))


context.configure(
    connection=context.config.attributes["connection"], target_metadata=SQLModel.metadata, include_name=ours
)
context.run_migrations()
