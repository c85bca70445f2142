r"""One batch over several processes: the loss of all rows, exact in value and gradient.

**What is computed.** Rank r holds n_r of the N samples. Every anchor meets the candidates of all
ranks, and the loss that each rank returns is the mean over the anchors of all ranks,

.. math:: L = \frac1M \sum_r \sum_{i \in r} \ell_i ,

the same number on every rank, for every number of processes and every order of them: candidates
are excluded by ids that are unique over all ranks, never by where they stand.

**What the gradient is.** Every rank calls ``backward`` on its copy of L, so together they
differentiate the sum of the W copies, and a rank's embeddings receive

.. math:: \frac{\partial}{\partial z_r} \sum_{q} L_q = W \frac{\partial L}{\partial z_r} ,

including what z_r does as a candidate of other ranks' anchors. DDP and FSDP then *average* the
gradients of the parameters, which sums over the ranks and divides by W:

.. math:: \frac1W \sum_r \Bigl(W \frac{\partial L}{\partial z_r}\Bigr)
          \frac{\partial z_r}{\partial \theta} = \frac{\partial L}{\partial \theta} ,

the gradient of one process on the whole batch. Leaving out the W, or the other ranks' anchors, is
the usual mistake. A learnable temperature (or scale) receives dL/dtau itself, the same on every
rank, whether or not it belongs to a DDP module: an average of equal numbers changes nothing.

**How.** *gather* collects all candidates on each rank: few messages, O(M d) memory a rank. *ring*
passes blocks of candidates from rank to rank while each rank computes with the block it has:
O(M d / W) memory. Every similarity of two ranks' rows is computed once, on one of them, and serves
both: in a ring a block visits only half of the ranks where the anchors are their own candidates.
"""

from ntxent.distributed.batch import MODES, Batch, LocalBatch, Mode
from ntxent.distributed.joining import join

__all__ = ["MODES", "Batch", "LocalBatch", "Mode", "join"]
