"""Settings of the compiler are set for a time, in public where torch has them."""

import pytest
import torch

from kdna_zoo.analysis.bench.compat import failing_past_the_recompile_limit


@pytest.mark.parametrize("public", [True, False])
def test_limits_are_set_for_a_time(public: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not public:
        monkeypatch.setattr(torch.compiler, "config", object())  # as before torch had them there
    elif not hasattr(torch.compiler.config, "recompile_limit"):
        pytest.skip("torch.compiler has these settings in later versions")
    config = torch._dynamo.config
    before = (config.recompile_limit, config.fail_on_recompile_limit_hit)
    with failing_past_the_recompile_limit():
        assert config.recompile_limit == config.accumulated_recompile_limit
        assert config.fail_on_recompile_limit_hit
    assert (config.recompile_limit, config.fail_on_recompile_limit_hit) == before
