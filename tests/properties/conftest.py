"""Profiles: ``fast`` is the same few examples in every run; ``full`` many, and others each time."""

import os
from typing import Any

from hypothesis import Phase, settings

common: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "phases": [Phase.generate, Phase.shrink],
}
settings.register_profile("fast", derandomize=True, max_examples=12, **common)
settings.register_profile("full", max_examples=200, print_blob=True, **common)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
