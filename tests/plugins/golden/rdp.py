#!/usr/bin/env python3
"""The epsilons of privacy_test: the RDP accountant of opacus 1.6.0.

  tests/plugins/golden/rdp.py
"""
from opacus.accountants.analysis import rdp

ORDERS = [1 + x / 10 for x in range(1, 100)] + list(range(11, 64))
CASES = [(1.0, 0.01, 1000, 1e-5), (1.0, 1.0, 10, 1e-5), (0.6, 0.1, 100, 1e-5),
         (4.0, 0.3, 2000, 1e-6), (2.0, 0.05, 1, 1e-5), (0.3, 0.02, 50, 1e-5),
         (1.1, 256 / 60000, 3510, 1e-5)]

for noise_multiplier, sampling_rate, rounds, delta in CASES:
    divergences = rdp.compute_rdp(
        q=sampling_rate, noise_multiplier=noise_multiplier, steps=rounds,
        orders=ORDERS)
    epsilon, order = rdp.get_privacy_spent(
        orders=ORDERS, rdp=divergences, delta=delta)
    print(noise_multiplier, sampling_rate, rounds, delta, repr(float(epsilon)),
          order)
