#!/usr/bin/env bash
# Supernets of 3, 5 and 8 cells on CIFAR-10 (JPEG): DARTS' first-order search with 8 channels for 8
# epochs on 2,000 images; each found cell trained alike, in 5 cells.
# From the root of the repository: bash results/depth-cifar10/run.sh
# Estimate: 37 ms per image and pass with 5 cells on two threads (results/methods-small): the three
# searches of a seed take 6, 10 and 16 minutes, the trainings 4: three seeds, 1.8 hours.
. results/study.sh
keep depth-cifar10 study depth "$cifar10" --cells 3,5,8 --seeds 3 --limit 2000 \
  --search.method darts --search.channels 8 --search.epochs 8 --search.arch-lr 0.02 \
  --train.cells 5 --train.channels 8 --train.epochs 8 --train.batch-size 64 \
  --train.valid-fraction 0.3333 "$@"
