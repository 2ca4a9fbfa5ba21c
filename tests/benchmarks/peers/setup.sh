#!/usr/bin/env bash
# Creates the environments of the programs that fedlb is measured against.
set -euo pipefail

readonly torch_version=2.11.0
readonly peers=(pfl fluke fedlab flower lightning)
# What each peer's environment adds to PyTorch and NumPy.
# shellcheck disable=SC2034  # read through the name of the peer
readonly pfl_requirements=('pfl==0.6.0' 'multiprocess<0.71')
# shellcheck disable=SC2034
readonly fluke_requirements=('fluke-fl==0.8.1')
# FedLab pins a PyTorch of its own; it runs with this one.
# shellcheck disable=SC2034
readonly fedlab_requirements=(
  munch pillow pynvml pandas scikit-learn torchvision tqdm)
readonly fedlab_alone='fedlab==1.3.0'
# shellcheck disable=SC2034
readonly flower_requirements=('flwr[simulation]==1.41.0')
# shellcheck disable=SC2034
readonly lightning_requirements=('lightning==2.6.6' torchvision)

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
readonly root
folder=$root/build/peers
torch_environment=
python=${PYTHON:-python3}

usage() {
  cat <<'END'
Usage: tests/benchmarks/peers/setup.sh [--torch VENV] [FOLDER]

Installs PyTorch and the peers into one virtual environment each under FOLDER
(build/peers by default): about 6 GB, of which PyTorch, which they share, takes
5. Does nothing that is already done. Python 3.11 or 3.12 is needed; the
environment variable PYTHON names one that is not python3.

  --torch VENV   share the PyTorch of this environment instead of fetching one
  --help         print this
END
}

say() { printf 'peers: %s\n' "$*" >&2; }

fail() {
  printf 'peers: error: %s\n' "$*" >&2
  exit 1
}

while (($#)); do
  case $1 in
    --torch)
      (($# > 1)) || fail "--torch needs the folder of an environment"
      torch_environment=$2
      shift
      ;;
    --help | -h)
      usage
      exit 0
      ;;
    -*) fail "unknown option $1 (see tests/benchmarks/peers/setup.sh --help)" ;;
    *) folder=$1 ;;
  esac
  shift
done

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
readonly folder torch_environment python

# Makes an environment unless it is there.
make_environment() {
  [[ -x $1/bin/python ]] && return
  "$2" -m venv "$1" || fail "$2 cannot make $1 (Debian: python3-venv)"
}

# pip for the environment $1, with its output kept in a file.
install() {
  local environment=$1
  shift
  "$environment/bin/python" -m pip --disable-pip-version-check install \
    --quiet --constraint "$folder/constraints.txt" "$@" \
    >"$environment/pip.log" 2>&1 || {
    tail -n 5 "$environment/pip.log" >&2
    fail "pip could not install $* (see $environment/pip.log)"
  }
}

# The environment $1 holds just what $2 says it should.
done_with() { [[ $(cat "$1/installed.txt" 2>/dev/null) == "$2" ]]; }

printf 'torch==%s\n' "$torch_version" >"$folder/constraints.txt"

if [[ -n $torch_environment ]]; then
  found=$("$torch_environment/bin/python" -c \
    'import torch; print(torch.__version__.partition("+")[0])') ||
    fail "no PyTorch in $torch_environment"
  [[ $found == "$torch_version" ]] ||
    fail "$torch_environment holds PyTorch $found, not $torch_version"
  ln -sfnT "$(cd "$torch_environment" && pwd)" "$folder/torch"
elif [[ ! -L $folder/torch ]]; then
  make_environment "$folder/torch" "$python"
  if ! done_with "$folder/torch" "$torch_version"; then
    say "fetching PyTorch $torch_version"
    install "$folder/torch" "torch==$torch_version" numpy
    printf '%s\n' "$torch_version" >"$folder/torch/installed.txt"
  fi
fi

# A path file lets every peer's environment see the one PyTorch.
shared=$("$folder/torch/bin/python" -c \
  'import sysconfig; print(sysconfig.get_path("purelib"))')
for peer in "${peers[@]}"; do
  environment=$folder/$peer
  declare -n requirements=${peer}_requirements
  wanted="$shared: ${requirements[*]}"
  done_with "$environment" "$wanted" && continue
  say "installing ${requirements[*]}"
  make_environment "$environment" "$folder/torch/bin/python"
  site=$("$environment/bin/python" -c \
    'import sysconfig; print(sysconfig.get_path("purelib"))')
  printf '%s\n' "$shared" >"$site/shared_torch.pth"
  install "$environment" "${requirements[@]}"
  if [[ $peer == fedlab ]]; then
    install "$environment" wheel setuptools
    install "$environment" --no-deps --no-build-isolation "$fedlab_alone"
  fi
  printf '%s\n' "$wanted" >"$environment/installed.txt"
done
