"""One way to say how long something took."""

from collections.abc import Sequence

import numpy as np


def percentile_ms(seconds: Sequence[float], percent: float) -> float:
    """In ms, a figure that occurred (nearest rank); 0 of nothing."""
    return 1e3 * float(np.percentile(seconds, percent, method="inverted_cdf")) if len(seconds) else 0.0
