#!/bin/sh
# make_idx.sh DIR [TRAIN_IMAGES [TRAIN_LABELS]]: four small IDX files, 4x4
# pixels, 10 test images, labels 0 to 9 in turn.
set -eu
dir=$1
images=${2:-40}
labels=${3:-$images}
mkdir -p "$dir"

# word N: N as four bytes, most significant first.
word() {
  printf "\\$(printf %03o $(($1 >> 24 & 255)))\\$(printf %03o $(($1 >> 16 & 255)))"
  printf "\\$(printf %03o $(($1 >> 8 & 255)))\\$(printf %03o $(($1 & 255)))"
}

images_file() {
  printf '\000\000\010\003'
  word "$1"
  word 4
  word 4
  i=0
  while [ $i -lt "$1" ]; do
    printf "$(printf '\\%03o\\000\\100\\200' $((i % 10 * 25)))%.0s" 1 2 3 4
    i=$((i + 1))
  done
}

labels_file() {
  printf '\000\000\010\001'
  word "$1"
  i=0
  while [ $i -lt "$1" ]; do
    printf "\\$(printf %03o $((i % 10)))"
    i=$((i + 1))
  done
}

images_file "$images" > "$dir/train-images-idx3-ubyte"
labels_file "$labels" > "$dir/train-labels-idx1-ubyte"
images_file 10 > "$dir/t10k-images-idx3-ubyte"
labels_file 10 > "$dir/t10k-labels-idx1-ubyte"
