"""Gather every model, and say what cannot be had and why."""

import sys

from tests.helpers.real_models import CACHE, MODELS, Unavailable, path


def main() -> int:
    """Return the number of models that cannot be had."""
    missing = 0
    for name in MODELS:
        try:
            print(f"{name}: {path(name).stat().st_size / 1e6:.1f} MB", flush=True)
        except Unavailable as error:
            missing += 1
            print(f"{name}: cannot be had, {error}", flush=True)
    print(f"{len(MODELS) - missing} of {len(MODELS)} models in {CACHE}")
    return missing


if __name__ == "__main__":
    sys.exit(main())
