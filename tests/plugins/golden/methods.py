"""Writes methods_golden.h: SCAFFOLD and FedDyn on a quadratic problem.

Run with NumPy in the repository:
  cd tests/plugins/golden && python methods.py > methods_golden.h

The rules are written down as the papers have them, in NumPy and in double. The
problem has a closed form, so that both sides can state it. Client k of 4 has
the loss sum_j a_kj (w_j - b_kj)^2 / 2 over 5 weights, with
  a_kj = 1 + 0.5 sin(k + 2 j),  b_kj = cos(3 k + j),
and all begin with w_j = sin(j + 1). In round t (0 <= t < 6) the cohort is
COHORTS[t], client k takes 1 + (k + t) mod 4 steps, and their rate is
0.1 / (1 + 0.2 t).
"""

import numpy as np

CLIENTS = 4
WEIGHTS = 5
COHORTS = [[0, 1, 2, 3], [1, 3], [0, 2, 3], [0, 1], [2], [0, 1, 2, 3]]

K = np.arange(CLIENTS)[:, None]
J = np.arange(WEIGHTS)[None, :]
A = 1 + 0.5 * np.sin(K + 2 * J)
B = np.cos(3 * K + J)


def gradient(k, w):
    return A[k] * (w - B[k])


def steps_of(k, t):
    return 1 + (k + t) % 4


def rate_of(t):
    return 0.1 / (1 + 0.2 * t)


def scaffold(momentum, server_lr):
    """Karimireddy et al. 2020, Algorithm 1, option II.

    With momentum, c_i+ is the mean of the client's gradients weighted by what
    they have moved the weights; the weights are counted one by one here.
    """
    x = np.sin(np.arange(WEIGHTS) + 1.0)
    c = np.zeros(WEIGHTS)
    c_of = np.zeros((CLIENTS, WEIGHTS))
    for t, cohort in enumerate(COHORTS):
        eta = rate_of(t)
        deltas, changes = [], []
        for k in cohort:
            y, v = x.copy(), np.zeros(WEIGHTS)
            gradients = []
            for _ in range(steps_of(k, t)):
                gradients.append(gradient(k, y))
                v = momentum * v + gradients[-1] - c_of[k] + c
                y = y - eta * v
            if momentum == 0:
                c_plus = c_of[k] - c + (x - y) / (len(gradients) * eta)
            else:
                moved = [sum(momentum**i for i in range(len(gradients) - j))
                         for j in range(len(gradients))]
                c_plus = sum(m * g for m, g in zip(moved, gradients))
                c_plus = c_plus / sum(moved)
            deltas.append(y - x)
            changes.append(c_plus - c_of[k])
            c_of[k] = c_plus
        x = x + server_lr * np.mean(deltas, axis=0)
        c = c + len(cohort) / CLIENTS * np.mean(changes, axis=0)
    return x, c, c_of


def feddyn(alpha):
    """Acar et al. 2021, Algorithm 1, with gradient steps as the minimiser."""
    theta = np.sin(np.arange(WEIGHTS) + 1.0)
    h = np.zeros(WEIGHTS)
    linear = np.zeros((CLIENTS, WEIGHTS))
    for t, cohort in enumerate(COHORTS):
        ends = []
        for k in cohort:
            local = theta.copy()
            for _ in range(steps_of(k, t)):
                slope = gradient(k, local) - linear[k] + alpha * (local - theta)
                local = local - rate_of(t) * slope
            linear[k] = linear[k] - alpha * (local - theta)
            ends.append(local)
        h = h - alpha / CLIENTS * sum(end - theta for end in ends)
        theta = np.mean(ends, axis=0) - h / alpha
    return theta, h, linear


def numbers(values, indent):
    text = [repr(float(v)) for v in values]
    return ("{" + (",\n" + " " * (indent + 1)).join(
        ", ".join(text[i:i + 3]) for i in range(0, len(text), 3)) + "}")


def main():
    print("// Written by methods.py with NumPy " + np.__version__ + ".")
    print("""
#ifndef FEDLB_TESTS_PLUGINS_GOLDEN_METHODS_GOLDEN_H_
#define FEDLB_TESTS_PLUGINS_GOLDEN_METHODS_GOLDEN_H_

#include <vector>

namespace fedlb {

struct MethodGolden {
  const char* name;
  double alpha;      // of feddyn
  double momentum;   // of the clients' optimizer
  double server_lr;
  // After the last round: the server's weights, c or h, and c_i or grad_k of
  // each client.
  std::vector<double> weights;
  std::vector<double> server;
  std::vector<std::vector<double>> clients;
};

inline const std::vector<MethodGolden>& MethodGoldens() {
  static const auto* const goldens = new std::vector<MethodGolden>{""")
    cases = [("scaffold", 0.0, momentum, server_lr,
              scaffold(momentum, server_lr))
             for momentum, server_lr in [(0.0, 1.0), (0.0, 0.7), (0.8, 1.0)]]
    cases += [("feddyn", alpha, 0.0, 1.0, feddyn(alpha))
              for alpha in [0.05, 2.0]]
    for name, alpha, momentum, server_lr, (weights, server, clients) in cases:
        print(f'      {{"{name}", {alpha}, {momentum}, {server_lr},')
        print("       " + numbers(weights, 7) + ",")
        print("       " + numbers(server, 7) + ",")
        print("       {" + ",\n        ".join(
            numbers(client, 8) for client in clients) + "}},")
    print("""  };
  return *goldens;
}

}  // namespace fedlb

#endif  // FEDLB_TESTS_PLUGINS_GOLDEN_METHODS_GOLDEN_H_""")


if __name__ == "__main__":
    main()
