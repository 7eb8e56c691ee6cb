from pathlib import Path

import pytest

from backend.domain.types import DatanetId, Purpose
from tests.services.world import BUILDER, ROWS, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
async def cardio(world: World) -> DatanetId:
    """A datanet of OWNER's with one record of Bob's and one of Alice's, searchable; nobody has a grant."""
    return await world.publish("cardio", ROWS)


@pytest.fixture
async def granted(world: World, cardio: DatanetId) -> DatanetId:
    """The same, and BUILDER may train on it; nothing is counted as fetched yet."""
    world.chain.grant(cardio, BUILDER, Purpose.TRAIN)
    world.content.gets.clear()
    return cardio
