"""What every `ModelCatalog` promises."""

import pytest

from backend.domain.errors import InvalidValue, ModelUnavailable
from backend.domain.training import Method
from backend.drivers.memory.engine import MemoryCatalog
from backend.ports import ModelCatalog
from tests.model_fixtures import TINY


@pytest.fixture(params=["memory", pytest.param("local", marks=pytest.mark.integration)])
def catalog(request: pytest.FixtureRequest) -> ModelCatalog:
    if request.param == "memory":
        return MemoryCatalog(TINY)
    local: ModelCatalog = request.getfixturevalue("tiny_catalog")
    return local


def test_a_model_that_is_here_resolves_to_one_revision(catalog: ModelCatalog) -> None:
    ref = catalog.resolve(TINY)
    assert ref.base == TINY
    assert len(bytes.fromhex(ref.revision)) == 32
    assert (ref.run_id, ref.adapter_digest) == (None, None)
    assert catalog.resolve(TINY) == ref


def test_an_unknown_name_is_refused_with_the_names_there_are(catalog: ModelCatalog) -> None:
    with pytest.raises(InvalidValue, match=TINY):
        catalog.resolve("gpt-unknown")


def test_a_model_without_weights_says_what_to_do(catalog: ModelCatalog) -> None:
    missing = next(base for base in catalog.bases() if not base.available)
    assert missing.why_not
    with pytest.raises(ModelUnavailable, match="safetensors"):
        catalog.resolve(missing.name)


def test_a_model_is_available_or_says_why_not(catalog: ModelCatalog) -> None:
    bases = catalog.bases()
    assert TINY in {base.name for base in bases if base.available}
    assert len({base.name for base in bases}) == len(bases)
    for base in bases:
        assert base.available == (base.why_not is None)


def test_every_method_is_answered_for(catalog: ModelCatalog) -> None:
    methods = catalog.methods()
    assert set(methods) == {method.value for method in Method}
    assert methods["lora"] is None
