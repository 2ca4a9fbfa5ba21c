#!/usr/bin/env bash
# Installs what fedlb needs and builds it: build/release/bin/fedlb.
set -euo pipefail

readonly torch_version=2.11.0
readonly build_packages=(
  cmake g++ ninja-build
  libabsl-dev libboost-dev libboost-filesystem-dev libcli11-dev
  libjpeg62-turbo-dev libjs-chart.js libpng-dev libssl-dev libthrift-dev
  libtomlplusplus-dev libxxhash-dev nlohmann-json3-dev thrift-compiler zlib1g-dev
  dataset-fashion-mnist)
readonly test_packages=(
  iproute2 libbenchmark-dev libfaketime libgmock-dev libgtest-dev python3-numpy
  python3-six python3-thrift)
readonly slow_test_packages=(chromium clang libclang-rt-dev)
# What libtorch_cpu.so is linked against, whether or not there is a GPU.
readonly torch_cpu_requirements=(
  "torch==$torch_version"
  'nvidia-cuda-runtime==13.0.*' 'nvidia-cuda-cupti==13.0.*')
# The rest of what that release of torch asks for, without its Python side.
readonly torch_cuda_requirements=(
  'nvidia-cublas==13.1.0.3.*' 'nvidia-cuda-nvrtc==13.0.88.*'
  'nvidia-cudnn-cu13==9.19.0.56' 'nvidia-cufft==12.0.0.61.*'
  'nvidia-cufile==1.15.1.6.*' 'nvidia-curand==10.4.0.35.*'
  'nvidia-cusolver==12.0.4.66.*' 'nvidia-cusparse==12.6.3.3.*'
  'nvidia-cusparselt-cu13==0.8.0' 'nvidia-nccl-cu13==2.28.9'
  'nvidia-nvjitlink==13.0.88.*' 'nvidia-nvshmem-cu13==3.4.5'
  'nvidia-nvtx==13.0.85.*')

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root
readonly deps=$root/.deps
readonly build=$root/build/release

usage() {
  cat <<'END'
Usage: scripts/setup.sh [--tests | --slow-tests] [--cuda]

Installs the Debian packages that fedlb needs (as root or with sudo), fetches
LibTorch into .deps/, and builds build/release/bin/fedlb. Does nothing that is
already done.

  --tests       build the tests, too
  --slow-tests  like --tests, and install what only the slow ones need
  --cuda        fetch LibTorch with its GPU libraries (about 5 GB instead of
                1.3); the GPU plugins are built where nvcc 13 is installed
  --help        print this

A LibTorch of your own is used, and none fetched, when CMAKE_PREFIX_PATH or
Torch_DIR names it in the environment.
END
}

say() { printf 'setup: %s\n' "$*" >&2; }

fail() {
  printf 'setup: error: %s\n' "$*" >&2
  exit 1
}

tests=no
slow_tests=no
cuda=no
while (($#)); do
  case $1 in
    --tests) tests=yes ;;
    --slow-tests) tests=yes slow_tests=yes ;;
    --cuda) cuda=yes ;;
    --help | -h)
      usage
      exit 0
      ;;
    *) fail "unknown option $1 (see scripts/setup.sh --help)" ;;
  esac
  shift
done

# Prints the names among the arguments that are not installed.
missing_packages() {
  local installed
  # dpkg-query fails when it has not heard of one of them.
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" \
    2>/dev/null || true)
  local package
  for package in "$@"; do
    if [[ $'\n'$installed$'\n' != *$'\n'"installed $package"$'\n'* ]]; then
      printf '%s\n' "$package"
    fi
  done
}

install_packages() {
  local -a become=()
  if ((EUID != 0)); then
    command -v sudo >/dev/null || fail \
      "need root or sudo to install: $* (or have an administrator install them)"
    become=(sudo)
  fi
  say "installing Debian packages: $*"
  local -a apt=("${become[@]}" env DEBIAN_FRONTEND=noninteractive
    apt-get -qq -o Dpkg::Use-Pty=0)
  local log=$deps/apt.log
  # Package lists that cannot be refreshed may still be recent enough.
  "${apt[@]}" update >"$log" 2>&1 || true
  "${apt[@]}" install -y --no-install-recommends "$@" >>"$log" 2>&1 || {
    tail -n 5 "$log" >&2
    fail "apt-get could not install $* (offline? see $log)"
  }
}

# Prints the folder of the LibTorch that the environment names, if it does.
own_torch() {
  local -a prefixes candidates=()
  if [[ -n ${Torch_DIR:-} ]]; then
    candidates+=("$Torch_DIR/../../.." "$Torch_DIR")
  fi
  IFS=':;' read -ra prefixes <<<"${CMAKE_PREFIX_PATH:-}"
  local prefix
  for prefix in "${prefixes[@]}"; do
    candidates+=("$prefix" "$prefix/torch" "$prefix/libtorch" "$prefix/../..")
  done
  local folder
  for folder in "${candidates[@]}"; do
    if [[ -e $folder/lib/libtorch_cpu.so ]]; then
      (cd "$folder" && pwd -P)
      return
    fi
  done
}

# Prints a Python that torch has a wheel for and that has pip.
python_with_pip() {
  local python
  for python in python3 /usr/bin/python3; do
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
      2>/dev/null && "$python" -m pip --version >/dev/null 2>&1; then
      printf '%s\n' "$python"
      return
    fi
  done
}

# Installs LibTorch into $1, or leaves no trace of it there.
fetch_torch() {
  local target=$1
  local -a requirements=("${torch_cpu_requirements[@]}")
  local need_mb=4000
  if [[ $cuda == yes ]]; then
    requirements+=("${torch_cuda_requirements[@]}")
    need_mb=14000
  fi
  local free_mb
  free_mb=$(df -Pm "$deps" | awk 'NR == 2 { print $4 }')
  ((free_mb >= need_mb)) || fail \
    "LibTorch needs $need_mb MB while it is unpacked; $deps has $free_mb MB"

  local python
  python=$(python_with_pip)
  [[ -n $python ]] || fail "no Python 3.10 or later with pip (python3-pip)"

  say "fetching LibTorch $torch_version into ${target#"$root"/}"
  rm -rf "$deps"/partial-*
  partial=$deps/partial-$$
  trap 'rm -rf "$partial"' EXIT
  mkdir -p "$partial/tmp"
  local log=$deps/pip.log
  TMPDIR=$partial/tmp PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 "$python" -m pip \
    --disable-pip-version-check --no-input install --quiet --no-deps \
    --no-compile --only-binary :all: --root-user-action ignore \
    --target "$partial/torch" "${requirements[@]}" >"$log" 2>&1 || {
    tail -n 3 "$log" >&2
    fail "pip could not fetch LibTorch (offline? disk full? see $log)"
  }
  # Another version of the same folder goes only when this one is complete.
  rm -rf "$target"
  mv "$partial/torch" "$target"
  rm -rf "$partial"
  trap - EXIT
}

# One compiler per core, and no more than memory allows at 2 GB each.
parallel_jobs() {
  local cores memory_kb jobs
  cores=$(nproc)
  memory_kb=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)
  jobs=$((memory_kb / 2000000))
  ((jobs >= 1)) || jobs=1
  ((jobs <= cores)) || jobs=$cores
  printf '%s\n' "$jobs"
}

# The loader refuses plugins that others may write to.
umask 022
mkdir -p "$deps" "$build" 2>/dev/null || fail "cannot write to $root"
exec 9>"$deps/lock"
flock -n 9 || {
  say "waiting for another setup to finish"
  flock 9
}

packages=("${build_packages[@]}")
if [[ $tests == yes ]]; then
  packages+=("${test_packages[@]}")
fi
if [[ $slow_tests == yes ]]; then
  packages+=("${slow_test_packages[@]}")
fi
torch=$(own_torch)
fetch=no
if [[ -z $torch ]]; then
  torch=$deps/torch-$torch_version/torch
  if [[ ! -e $torch/lib/libtorch_cpu.so ]] ||
    [[ $cuda == yes && ! -d ${torch%/torch}/nvidia/cudnn ]]; then
    fetch=yes
    if [[ -z $(python_with_pip) ]]; then
      packages+=(python3-pip)
    fi
  fi
fi

if command -v dpkg-query >/dev/null; then
  mapfile -t missing < <(missing_packages "${packages[@]}")
  if ((${#missing[@]})); then
    install_packages "${missing[@]}"
  fi
else
  say "warning: not a Debian system; this needs what Debian calls ${packages[*]}"
fi
if [[ $fetch == yes ]]; then
  fetch_torch "${torch%/torch}"
fi

# An earlier setup's tests stay configured; only --tests builds them.
if grep -qs '^FEDLB_BUILD_TESTS:BOOL=ON' "$build/CMakeCache.txt" ||
  [[ $tests == yes ]]; then
  build_tests=ON
else
  build_tests=OFF
fi
gpu_libraries=no
if [[ -e ${torch%/torch}/nvidia/cudnn ]]; then
  gpu_libraries=yes
fi
configuration="torch=$torch gpu_libraries=$gpu_libraries tests=$build_tests"
stamp=$build/setup.stamp
if [[ ! -e $build/build.ninja ]] ||
  [[ $(cat "$stamp" 2>/dev/null) != "$configuration" ]]; then
  say "configuring build/release"
  # CMake refuses the cache of a checkout that has moved.
  if ! grep -qsxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" \
    "$build/CMakeCache.txt"; then
    rm -rf "$build/CMakeCache.txt" "$build/CMakeFiles"
  fi
  log=$build/configure.log
  (cd "$root" && cmake --preset release "-DFEDLB_BUILD_TESTS=$build_tests" \
    "-DTorch_DIR=$torch/share/cmake/Torch") >"$log" 2>&1 || {
    grep -A 4 'CMake Error' "$log" >&2 || tail -n 5 "$log" >&2
    fail "CMake could not configure build/release (see $log)"
  }
  printf '%s\n' "$configuration" >"$stamp"
  if [[ $cuda == yes ]] &&
    ! grep -qs '^FEDLB_WITH_CUDA:BOOL=ON' "$build/CMakeCache.txt"; then
    say "warning: no nvcc 13 found, so the GPU plugins are not built"
  fi
fi

targets=(fedlb fedlb_plugins)
if [[ $tests == yes ]]; then
  targets=(all)
fi
jobs=$(parallel_jobs)
if [[ $(ninja -C "$build" -n "${targets[@]}" 2>&1) != *'no work to do'* ]]; then
  say "building build/release with $jobs jobs"
  ninja -C "$build" -j "$jobs" "${targets[@]}" >&2 ||
    fail "the build failed; the compiler's message is above"
fi
