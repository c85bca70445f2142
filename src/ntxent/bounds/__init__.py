"""What a value of the NT-Xent loss can and cannot mean: every theorem as one function.

N pairs give 2N unit embeddings z with cosine similarities s_ik = <z_i, z_k>, p(i) is the positive
of i, τ the temperature and β = 1/τ. With natural logarithms (the unit is the nat),

    ℓ_i = log Σ_{k≠i} exp(β s_ik) − β s_ip(i)        L = mean of ℓ_i over the 2N anchors.

A registered function carries its theorem number, LaTeX statement, sharpness, range and source in
``THEOREMS``; the proofs are in ``docs/theory.md`` under the same numbers. Arguments are numbers or
arrays, which broadcast; numbers give a Python float, arrays a float64 array.

>>> [round(x, 4) for x in (floor(256, 0.5), chance(256), ceiling(256, 0.5))]
[4.2411, 6.2364, 9.5595]
"""

from .calling import SIMILARITY_SLACK, Interval
from .certificates import (
    candidate_similarity_interval,
    gradient_bound,
    similarity_gap,
    similarity_gradient_bound,
    similarity_interval,
    top1_share,
)
from .family import info_nce_interval, moco_interval, sup_con_interval
from .loss import (
    ceiling,
    chance,
    floor,
    log_sum_exp_bound,
    measured_floor,
    position,
    random_loss,
    similarity_limit,
    uniformity_floor,
    upper_bound,
)
from .registry import THEOREMS, Theorem
from .sphere import log_kernel_mean
from .variants import NOT_GIVEN, VARIANTS, Convention, Given, Limits, Scale, Variant, limits

__all__ = [
    "NOT_GIVEN",
    "SIMILARITY_SLACK",
    "THEOREMS",
    "VARIANTS",
    "Convention",
    "Given",
    "Interval",
    "Limits",
    "Scale",
    "Theorem",
    "Variant",
    "candidate_similarity_interval",
    "ceiling",
    "chance",
    "floor",
    "gradient_bound",
    "info_nce_interval",
    "limits",
    "log_kernel_mean",
    "log_sum_exp_bound",
    "measured_floor",
    "moco_interval",
    "position",
    "random_loss",
    "similarity_gap",
    "similarity_gradient_bound",
    "similarity_interval",
    "similarity_limit",
    "sup_con_interval",
    "top1_share",
    "uniformity_floor",
    "upper_bound",
]
