"""Going on from a model of one's own: only from one that fits, and only while all the data of its line is permitted."""

from dataclasses import replace
from typing import Any

import pytest

from backend.domain.errors import AccessDenied, ContentCorrupt, InvalidValue
from backend.domain.training import Method, RunStatus, TrainingRun
from backend.domain.types import DatanetId, Purpose, RunId
from backend.services.deriving import MAX_GENERATION
from backend.services.ordering import config_digest
from tests.services.content_fixtures import OWNER
from tests.services.world import BUILDER, ROWS, World, spec


@pytest.fixture
async def parent(world: World, granted: DatanetId) -> TrainingRun:
    """BUILDER's model of datanet 1; nothing is counted as fetched or trained since."""
    run = await world.train(BUILDER, granted)
    forget(world)
    return run


@pytest.fixture
async def neuro(world: World, parent: TrainingRun) -> DatanetId:
    """Another datanet that BUILDER may train on."""
    datanet = await world.publish("neuro", ROWS)
    world.chain.grant(datanet, BUILDER, Purpose.TRAIN)
    forget(world)
    return datanet


def forget(world: World) -> None:
    world.content.gets.clear()
    world.trainer.trained.clear()


async def test_a_run_goes_on_from_its_parents_adapter_and_is_registered_as_its_child(
    world: World, parent: TrainingRun, neuro: DatanetId
) -> None:
    child = await world.train(BUILDER, neuro, parent_run=parent.run_id)
    assert (child.status, child.problem, child.model_id) == (RunStatus.DONE, None, 2)
    assert child.order.parent_model_id == parent.model_id
    assert child.loss_first == parent.loss_last  # where the parent ended
    assert world.events_named("ModelDerived") == [{"modelId": 2, "parentModelId": parent.model_id}]
    assert [p.datanet for p in child.permissions] == [neuro, *parent.spec.datanets]
    assert parent.adapter_cid in world.content.gets
    assert list((world.home / "scratch").iterdir()) == []  # the parent's plain weights left with the run


async def test_either_method_may_go_on_from_the_other(world: World, parent: TrainingRun, granted: DatanetId) -> None:
    child = await world.train(BUILDER, granted, parent_run=parent.run_id, method=Method.QLORA)
    assert child.status is RunStatus.DONE
    assert len(child.permissions) == 1  # the same datanet is asked about once


async def test_the_parent_is_part_of_what_the_order_commits_to(
    world: World, parent: TrainingRun, granted: DatanetId
) -> None:
    assert config_digest(spec(granted, parent_run=parent.run_id)) != config_digest(spec(granted))
    order = await world.ordering.order(BUILDER, spec(granted, parent_run=parent.run_id))
    for altered in (replace(order, parent_model_id=0), replace(order, parent_model_id=99)):
        with pytest.raises(InvalidValue, match=r"order\.parent_model_id"):
            await world.ordering.start(
                BUILDER, spec(granted, parent_run=parent.run_id), altered, world.signatures.sign_order(altered)
            )
    assert world.runs.queued == [parent.run_id]


async def test_provenance_names_the_parent_and_the_data_of_its_whole_line(
    world: World, parent: TrainingRun, neuro: DatanetId
) -> None:
    child = await world.train(BUILDER, neuro, parent_run=parent.run_id)
    grandchild = await world.train(BUILDER, neuro, parent_run=child.run_id)
    assert grandchild.loss_first == child.loss_last  # from its parent, not from the first of the line
    assert grandchild.provenance is not None
    assert child.adapter_digest is not None
    build = grandchild.provenance["predicate"]["buildDefinition"]
    assert build["externalParameters"]["settings"]["parent_run"] == child.run_id
    _, own, parent_model, *inherited = build["resolvedDependencies"]
    assert (own["annotations"]["datanet_id"], own["annotations"]["version"]) == (neuro, 1)
    assert parent_model["annotations"] == {"model_id": 2, "provenance_digest": child.provenance_digest}
    assert parent_model["digest"] == {"sha256": child.adapter_digest[2:]}
    assert parent_model["uri"] == f"ipfs://{child.adapter_cid}"
    named = [(d["annotations"]["model_id"], d["annotations"]["datanet_id"]) for d in inherited]
    assert named == [(child.model_id, neuro), (parent.model_id, parent.spec.datanets[0])]
    blocks = {p.datanet: p.block.number for p in grandchild.permissions}
    assert all(d["annotations"]["permission_block"] == blocks[d["annotations"]["datanet_id"]] for d in inherited)


async def refusal(world: World, parent_run: str, **settings: Any) -> str:
    with pytest.raises(InvalidValue) as refused:
        await world.ordering.order(BUILDER, spec(DatanetId(1), parent_run=RunId(parent_run), **settings))
    assert refused.value.field == "parent_run_id"
    return refused.value.problem


async def test_somebody_elses_run_is_no_parent_and_looks_like_none(world: World, parent: TrainingRun) -> None:
    theirs = await world.train(OWNER, DatanetId(1))
    for run_id in (theirs.run_id, "0123456789abcdef"):
        assert await refusal(world, run_id) == f"{run_id} is not a run of yours; choose one of your own tuned models"


async def test_a_run_without_a_registered_model_is_no_parent(world: World, granted: DatanetId) -> None:
    queued = await world.start(BUILDER, granted)
    assert "is queued, not a registered model" in await refusal(world, queued.run_id)
    await world.runs.update(queued.run_id, status=RunStatus.DONE)
    assert "not a registered model" in await refusal(world, queued.run_id)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda run: {"spec": replace(run.spec, base_model="other-llama")}, "tuned other-llama, not tiny-llama"),
        (lambda run: {"base_revision": "11" * 32}, "tuned revision 111111111111 of tiny-llama"),
        (lambda run: {"spec": replace(run.spec, rank=8)}, "of rank 8, not 4; set rank to 8"),
    ],
    ids=["base", "revision", "rank"],
)
async def test_a_parent_that_does_not_fit_is_refused_with_what_to_do(
    world: World, parent: TrainingRun, change: Any, said: str
) -> None:
    await world.runs.update(parent.run_id, **change(parent))
    assert said in await refusal(world, parent.run_id)


async def test_a_run_stored_before_revisions_were_kept_may_be_a_parent(world: World, parent: TrainingRun) -> None:
    await world.runs.update(parent.run_id, base_revision=None)
    assert await world.ordering.order(BUILDER, spec(DatanetId(1), parent_run=parent.run_id))


async def test_a_line_ends_after_its_eighth_descendant(world: World, parent: TrainingRun) -> None:
    run = parent
    for _ in range(MAX_GENERATION):
        run = await world.train(BUILDER, DatanetId(1), parent_run=run.run_id)
    assert run.status is RunStatus.DONE
    assert "ends its line" in await refusal(world, run.run_id)


async def test_an_order_is_refused_by_the_datanet_of_the_line_that_says_no(
    world: World, parent: TrainingRun, neuro: DatanetId
) -> None:
    child = await world.train(BUILDER, neuro, parent_run=parent.run_id)
    wanted = spec(neuro, parent_run=child.run_id)
    order = await world.ordering.order(BUILDER, wanted)
    world.chain.revoke(parent.spec.datanets[0], BUILDER, Purpose.TRAIN)
    queued = list(world.runs.queued)
    with pytest.raises(AccessDenied, match="may not train with datanet 1 "):
        await world.ordering.order(BUILDER, wanted)
    with pytest.raises(AccessDenied, match="may not train with datanet 1 "):
        await world.ordering.start(BUILDER, wanted, order, world.signatures.sign_order(order))
    assert await world.ordering.order(BUILDER, spec(neuro))  # on its own it is as free as before
    assert world.runs.queued == queued


async def test_a_line_revoked_while_queued_refuses_the_run_before_anything_is_fetched(
    world: World, parent: TrainingRun, neuro: DatanetId
) -> None:
    run = await world.start(BUILDER, neuro, parent_run=parent.run_id)
    world.chain.revoke(parent.spec.datanets[0], BUILDER, Purpose.TRAIN)
    await world.training.run(run.run_id)
    ended = await world.run_of(run.run_id)
    assert ended.status is RunStatus.REFUSED
    assert "may not train with datanet 1 " in (ended.problem or "")
    assert world.nothing_was_trained()


async def test_a_parent_the_chain_does_not_let_be_used_is_not_gone_on_from(
    world: World, parent: TrainingRun, neuro: DatanetId
) -> None:
    run = await world.start(BUILDER, neuro, parent_run=parent.run_id)
    await world.runs.update(parent.run_id, model_id=7)  # as after a reorganisation: the chain has no such model
    with pytest.raises(AccessDenied, match="model 7 may not be gone on from"):
        await world.ordering.order(BUILDER, spec(neuro, parent_run=parent.run_id))
    await world.training.run(run.run_id)
    assert (await world.run_of(run.run_id)).status is RunStatus.REFUSED
    assert world.nothing_was_trained()


async def test_a_parents_adapter_that_is_not_the_one_registered_is_never_trained_on(
    world: World, parent: TrainingRun, granted: DatanetId
) -> None:
    run = await world.start(BUILDER, granted, parent_run=parent.run_id)
    other = await world.train(OWNER, granted, seed=8)
    await world.runs.update(parent.run_id, adapter_cid=other.adapter_cid)
    forget(world)
    await world.training.run(run.run_id)
    ended = await world.run_of(run.run_id)
    assert ended.status is RunStatus.FAILED
    assert str(ContentCorrupt(f"adapter {parent.adapter_digest}")) == ended.problem
    assert world.trainer.trained == []
