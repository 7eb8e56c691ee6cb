"""Adapters: pinned encrypted, fetched once, and only the exact archive the digest on chain is of."""

import asyncio
import io
from dataclasses import replace

import pytest

from backend.domain.answers import ModelRef
from backend.domain.errors import ContentCorrupt, ContentUnavailable, ModelUnavailable
from backend.domain.types import DatanetId, Digest
from backend.drivers.content_crypto import StreamCipher
from backend.drivers.engine.archive import pack
from backend.services.adapters import open_adapter, seal_adapter
from tests.services.content_fixtures import OWNER
from tests.services.world import World


@pytest.fixture
async def tuned(world: World, cardio: DatanetId) -> ModelRef:
    run = await world.train(OWNER, cardio)
    base = world.catalog.resolve(run.spec.base_model)
    world.content.gets.clear()
    return ModelRef(base.base, base.revision, run.run_id, run.adapter_digest, run.adapter_cid)


async def test_the_shelf_gives_back_exactly_what_was_trained(world: World, tuned: ModelRef) -> None:
    assert tuned.adapter_cid is not None
    archive = open_adapter(world.cipher, world.content.objects[tuned.adapter_cid])
    assert pack(await world.shelf.path_of(tuned)) == archive


async def test_an_adapter_is_fetched_once_however_many_ask(world: World, tuned: ModelRef) -> None:
    paths = await asyncio.gather(*(world.shelf.path_of(tuned) for _ in range(3)))
    world.restart()
    world.content.down = True
    assert {*paths, await world.shelf.path_of(tuned)} == {paths[0]}
    assert world.content.gets == [tuned.adapter_cid]


async def test_an_archive_with_another_digest_is_refused_and_not_kept(world: World, tuned: ModelRef) -> None:
    other = replace(tuned, adapter_digest=Digest("0x" + "11" * 32))
    for _ in range(2):
        with pytest.raises(ContentCorrupt):
            await world.shelf.path_of(other)
    assert len(world.content.gets) == 2


async def test_another_archive_under_the_right_key_is_refused(world: World, tuned: ModelRef) -> None:
    cid = await world.content.put(io.BytesIO(seal_adapter(world.cipher, b"another archive")))
    with pytest.raises(ContentCorrupt):
        await world.shelf.path_of(replace(tuned, adapter_cid=cid))


async def test_another_servers_key_opens_nothing(world: World, tuned: ModelRef) -> None:
    world.cipher = StreamCipher(bytes(32))
    world.restart()
    with pytest.raises(ContentCorrupt):
        await world.shelf.path_of(tuned)


async def test_ipfs_being_down_is_dont_know_and_the_next_try_succeeds(world: World, tuned: ModelRef) -> None:
    world.content.down = True
    with pytest.raises(ContentUnavailable):
        await world.shelf.path_of(tuned)
    world.content.down = False
    assert (await world.shelf.path_of(tuned)).is_dir()


async def test_a_base_model_has_no_adapter(world: World) -> None:
    with pytest.raises(ModelUnavailable):
        await world.shelf.path_of(world.catalog.resolve("tiny-llama"))


@pytest.mark.parametrize("cut", [0, 1, 2, 41, 60])
def test_an_adapter_that_is_cut_short_or_changed_does_not_open(world: World, cut: int) -> None:
    sealed = seal_adapter(world.cipher, b"archive" * 100)
    assert open_adapter(world.cipher, sealed) == b"archive" * 100
    changed = sealed[:cut] + bytes([sealed[cut] ^ 1]) + sealed[cut + 1 :]
    for damaged in (sealed[:cut], changed, sealed[:-1]):
        with pytest.raises(ContentCorrupt):
            open_adapter(world.cipher, damaged)


def test_sealing_twice_shows_nothing_of_what_is_the_same(world: World) -> None:
    assert seal_adapter(world.cipher, b"archive") != seal_adapter(world.cipher, b"archive")
