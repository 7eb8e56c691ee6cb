"""The schema's history; `backend.drivers.db.engine.migrate` applies it."""
