"""Fixtures that several folders share; each module names its own."""

pytest_plugins = ("tests.chain_fixtures", "tests.db_fixtures", "tests.model_fixtures", "tests.system_fixtures")
