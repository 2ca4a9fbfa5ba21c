"""Prints goldens of optimizers as a C++ header."""


def toml(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)


def print_header(origin, guard, prologue, function, cases):
    """`cases` yields (name, options, weights after the last step)."""
    print(f"""// Written by {origin}.

#ifndef FEDLB_TESTS_PLUGINS_GOLDEN_{guard}_H_
#define FEDLB_TESTS_PLUGINS_GOLDEN_{guard}_H_

{prologue}

inline const std::vector<OptimizerGolden>& {function}() {{
  static const auto* const goldens = new std::vector<OptimizerGolden>{{""")
    for kind, options, weights in cases:
        lines = [f"{k} = {toml(v)}\\n" for k, v in options.items()]
        text = "\n       ".join(f'"{line}"' for line in lines)
        print(f'      {{"{kind}",\n       {text},')
        values = [repr(float(v)) for v in weights]
        print("       {" + ",\n        ".join(
            ", ".join(values[i:i + 3]) for i in range(0, len(values), 3))
            + "}},")
    print(f"""  }};
  return *goldens;
}}

}}  // namespace fedlb

#endif  // FEDLB_TESTS_PLUGINS_GOLDEN_{guard}_H_""")
