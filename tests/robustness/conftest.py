"""How far hypothesis searches: quickly by default, for long with CONVLAB_HYPOTHESIS=long.

Both draw from the suite's seed and keep no data base, so that a run can be repeated: another seed,
by CONVLAB_TEST_SEED, is another search.
"""

import os

from hypothesis import HealthCheck, settings
from oracle import SEED

_COMMON = {
    "database": None,
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
settings.register_profile("quick", max_examples=15, **_COMMON)
settings.register_profile("long", max_examples=5000, **_COMMON)

PROFILE = os.environ.get("CONVLAB_HYPOTHESIS", "quick")
settings.load_profile(PROFILE)


def pytest_report_header() -> str:
    return (
        f"hypothesis: seed {SEED}, profile {PROFILE}, {settings.default.max_examples} examples "
        "per test (set CONVLAB_HYPOTHESIS=long for more)"
    )
