#!/usr/bin/env python3
"""Prints Krum's, Multi-Krum's and Bulyan's results for robust_aggregation_test.

Written from the papers' definitions with sets and exact fractions, without
arrays. The updates are integers, update k's element i being
(37 k k + 101 i + 13 k i) mod 97, and 10,000 more for the last two.
"""

from fractions import Fraction

N, F, WIDTH = 11, 2, 3
UPDATES = [[(37 * k * k + 101 * i + 13 * k * i) % 97 +
            (10000 if k >= N - F else 0) for i in range(WIDTH)]
           for k in range(N)]


def score(k, among):
    others = sorted(sum((a - b) ** 2 for a, b in zip(UPDATES[k], UPDATES[j]))
                    for j in among if j != k)
    return sum(others[:max(1, len(among) - F - 2)]), sum(others)


def ranked(among):
    return sorted(among, key=lambda k: (score(k, among), k))


def mean(values):
    return float(Fraction(sum(values), len(values)))


def columns(chosen):
    return [[UPDATES[k][i] for k in chosen] for i in range(WIDTH)]


best = ranked(range(N))
print("krum", UPDATES[best[0]])
print("multi-krum", [mean(c) for c in columns(best[:N - F - 2])])

left, chosen = list(range(N)), []
while len(chosen) < N - 2 * F:
    chosen.append(ranked(left)[0])
    left.remove(chosen[-1])
result = []
for column in columns(chosen):
    middle = sorted(column)
    median = Fraction(middle[(len(middle) - 1) // 2] + middle[len(middle) // 2],
                      2)
    near = sorted(column, key=lambda v: (abs(v - median), v))[:N - 4 * F]
    result.append(mean(near))
print("bulyan", sorted(chosen), result)
