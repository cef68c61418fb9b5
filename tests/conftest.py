"""One thread: tests run beside other work, and sums keep their order."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import torch

torch.set_num_threads(1)
