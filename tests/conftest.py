"""One thread for torch: tests run beside other work, and sums keep their order."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
