#!/usr/bin/env python3
"""The numbers of compressors_test's PowerSGD: PyTorch's own DDP hook with one
process, on gradients given by a formula, with a given Q to start from.

  tests/plugins/golden/powersgd.py        (torch 2.11)

Prints, for each of three steps, some entries of the decompressed gradient and
the sum of its squares.
"""
import os

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks import powerSGD_hook
from torch.nn.parallel import DistributedDataParallel

ROWS, COLUMNS, RANK = 24, 40, 4


def gradient(step):
    i = torch.arange(ROWS, dtype=torch.float64).reshape(-1, 1)
    j = torch.arange(COLUMNS, dtype=torch.float64).reshape(1, -1)
    return (torch.sin(0.37 * (i + 1) * (j + 2) + step)
            / (1 + 0.05 * i * j)).float()


def first_q():
    j = torch.arange(COLUMNS, dtype=torch.float64).reshape(-1, 1)
    k = torch.arange(RANK, dtype=torch.float64).reshape(1, -1)
    return torch.cos(0.3 * (j + 1) * (k + 1)).float()


class Matrix(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(ROWS, COLUMNS))

    def forward(self, target):
        return (self.weight * target).sum()


os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29533")
dist.init_process_group("gloo", rank=0, world_size=1)
model = DistributedDataParallel(Matrix())
state = powerSGD_hook.PowerSGDState(
    None, matrix_approximation_rank=RANK, start_powerSGD_iter=2,
    min_compression_rate=1, use_error_feedback=True, warm_start=True)
model.register_comm_hook(state, powerSGD_hook.powerSGD_hook)
for step in range(-2, 3):
    if step == 0:
        state.p_memory_dict[0] = torch.zeros(ROWS * RANK)
        state.q_memory_dict[0] = first_q().flatten()
    model.zero_grad()
    model(gradient(step)).backward()
    grad = model.module.weight.grad
    if step >= 0:
        print(step, [round(grad[i, j].item(), 6)
                     for i, j in ((0, 0), (3, 7), (23, 39), (11, 2))],
              round(grad.double().square().sum().item(), 5))
dist.destroy_process_group()
