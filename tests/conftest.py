"""Fixtures that several folders share; each module names its own."""

from hypothesis import settings

# A busy machine is slow, not wrong: no property is judged by its time. A failure comes again when it is looked into.
settings.register_profile("byline", deadline=None, max_examples=40, derandomize=True)
settings.load_profile("byline")

pytest_plugins = (
    "tests.chain_fixtures",
    "tests.db_fixtures",
    "tests.model_fixtures",
    "tests.slow_chain_fixtures",
    "tests.system_fixtures",
)
