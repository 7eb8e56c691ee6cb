"""Ordering: an order and its run are refused by name before anything is fetched."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from backend.domain.errors import (
    AccessDenied,
    ChainUnavailable,
    Conflict,
    InvalidValue,
)
from backend.domain.training import Method, TrainingOrder
from backend.domain.types import DatanetId, Digest, Purpose
from backend.drivers.memory.engine import MemoryCatalog
from backend.services.ordering import ORDER_SECONDS, config_digest
from tests.services.content_fixtures import OWNER
from tests.services.world import BUILDER, ROWS, World, spec


async def test_without_train_an_order_is_refused_before_anything_is_fetched(world: World, cardio: DatanetId) -> None:
    world.chain.grant(cardio, BUILDER, Purpose.RETRIEVE | Purpose.EVALUATE | Purpose.EXPORT)
    world.content.gets.clear()
    with pytest.raises(AccessDenied, match="may not train with datanet 1"):
        await world.ordering.order(BUILDER, spec(cardio))
    assert world.nothing_was_trained()


async def test_one_denied_datanet_of_two_refuses_the_order(world: World, granted: DatanetId) -> None:
    other = await world.publish("neuro", ROWS)
    with pytest.raises(AccessDenied, match="datanet 2"):
        await world.ordering.order(BUILDER, spec(granted, other))


async def test_revoked_between_order_and_start_no_run_begins(world: World, granted: DatanetId) -> None:
    order = await world.ordering.order(BUILDER, spec(granted))
    world.chain.revoke(granted, BUILDER, Purpose.TRAIN)
    with pytest.raises(AccessDenied):
        await world.ordering.start(BUILDER, spec(granted), order, world.signatures.sign_order(order))
    assert world.runs.queued == []
    assert world.nothing_was_trained()


async def test_without_the_chain_neither_order_nor_start_is_decided(world: World, granted: DatanetId) -> None:
    order = await world.ordering.order(BUILDER, spec(granted))
    world.chain.down = True
    with pytest.raises(ChainUnavailable):
        await world.ordering.order(BUILDER, spec(granted))
    with pytest.raises(ChainUnavailable):
        await world.ordering.start(BUILDER, spec(granted), order, world.signatures.sign_order(order))
    assert world.runs.queued == []


async def test_an_order_names_exactly_what_will_be_trained(world: World, granted: DatanetId) -> None:
    order = await world.ordering.order(BUILDER, spec(granted))
    assert (order.trainer, order.datanets, order.versions) == (BUILDER, (granted,), (1,))
    assert order.config_digest == config_digest(spec(granted)) != config_digest(spec(granted, seed=8))
    assert order.deadline == world.chain.now + ORDER_SECONDS
    assert order.nonce != (await world.ordering.order(BUILDER, spec(granted))).nonce


async def test_an_order_sent_twice_is_one_run(world: World, granted: DatanetId) -> None:
    order = await world.ordering.order(BUILDER, spec(granted))
    signature = world.signatures.sign_order(order)
    first = await world.ordering.start(BUILDER, spec(granted), order, signature)
    assert await world.ordering.start(BUILDER, spec(granted), order, signature) == first
    assert world.runs.queued == [first.run_id]
    assert (await world.start(BUILDER, granted)).run_id != first.run_id


async def test_a_datanet_without_a_version_has_nothing_to_train_on(world: World) -> None:
    empty = world.chain.create_datanet(BUILDER, "empty")
    with pytest.raises(InvalidValue, match="no published version"):
        await world.ordering.order(BUILDER, spec(empty))


Change = Callable[[TrainingOrder], TrainingOrder]


@pytest.mark.parametrize(
    ("change", "wanted", "field"),
    [
        (lambda o: replace(o, trainer=OWNER), {}, "order.trainer"),
        (lambda o: o, {"seed": 8}, "order.config_digest"),
        (lambda o: o, {"epochs": 3}, "order.config_digest"),
        (lambda o: o, {"learning_rate": 3e-4}, "order.config_digest"),
        (lambda o: replace(o, config_digest=Digest("0x" + "11" * 32)), {}, "order.config_digest"),
        (lambda o: replace(o, datanets=(DatanetId(2),)), {}, "order.datanet_ids"),
        (lambda o: replace(o, deadline=o.deadline + 1), {}, "order.deadline"),
        (lambda o: replace(o, deadline=o.deadline - ORDER_SECONDS), {}, "order.deadline"),
    ],
)
async def test_what_is_wrong_with_an_order_is_named(
    world: World, granted: DatanetId, change: Change, wanted: dict[str, Any], field: str
) -> None:
    order = change(await world.ordering.order(BUILDER, spec(granted)))
    with pytest.raises(InvalidValue) as refused:
        await world.ordering.start(BUILDER, spec(granted, **wanted), order, world.signatures.sign_order(order))
    assert refused.value.field == field
    assert world.runs.queued == []


async def test_a_deadline_that_has_passed_is_named(world: World, granted: DatanetId) -> None:
    order = await world.ordering.order(BUILDER, spec(granted))
    world.chain.advance(ORDER_SECONDS)
    with pytest.raises(InvalidValue, match=r"order\.deadline: has passed"):
        await world.ordering.start(BUILDER, spec(granted), order, world.signatures.sign_order(order))


async def test_another_signature_is_refused(world: World, granted: DatanetId) -> None:
    order = await world.ordering.order(BUILDER, spec(granted))
    other = await world.ordering.order(BUILDER, spec(granted))
    for signature in (world.signatures.sign_order(other), b"", b"\x00" * 65):
        with pytest.raises(InvalidValue, match="signature: is not"):
            await world.ordering.start(BUILDER, spec(granted), order, signature)
    assert world.runs.queued == []


async def test_a_new_version_since_the_order_is_a_conflict(world: World, granted: DatanetId) -> None:
    order = await world.ordering.order(BUILDER, spec(granted))
    await world.publish_version(granted, ROWS)
    with pytest.raises(Conflict, match="new version since you asked"):
        await world.ordering.start(BUILDER, spec(granted), order, world.signatures.sign_order(order))


async def test_a_method_that_this_machine_lacks_is_named(world: World, granted: DatanetId) -> None:
    world.catalog = MemoryCatalog(methods={"lora": None, "qlora": "no GPU"})
    world.restart()
    with pytest.raises(InvalidValue, match="qlora cannot run here: no GPU"):
        await world.ordering.order(BUILDER, spec(granted, method=Method.QLORA))
