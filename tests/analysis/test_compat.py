"""What the bench sets of torch's private parts: it fails when torch changes, or has it."""

import torch

from kdna_zoo.analysis.bench.compat import failing_past_the_recompile_limit


def test_limits_are_set_for_a_time() -> None:
    config = torch._dynamo.config
    before = (config.recompile_limit, config.fail_on_recompile_limit_hit)
    with failing_past_the_recompile_limit():
        assert config.recompile_limit == config.accumulated_recompile_limit
        assert config.fail_on_recompile_limit_hit
    assert (config.recompile_limit, config.fail_on_recompile_limit_hit) == before
    public = getattr(torch.compiler, "config", None)
    assert not hasattr(public, "recompile_limit"), "torch has it in public"
