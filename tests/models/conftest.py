"""The networks of the contract, each built once for all its tests; the large ones take longer."""

import pytest
from torch import nn

from tests.models.support import NAMES, TINY, create, shapes_only

LARGE = [pytest.param(name, marks=pytest.mark.integration) for name in NAMES if name not in TINY]


@pytest.fixture(scope="session", params=[*TINY, *LARGE])
def model(request: pytest.FixtureRequest) -> nn.Module:
    """A network in eval mode, shared by all tests: leave it as it is, or change a copy."""
    return create(request.param)


@pytest.fixture(scope="session")
def base(model: nn.Module) -> nn.Module:
    """timm's network without sharing, of the same size, on the meta device."""
    return shapes_only(model.base_arch, **model.base_args)
