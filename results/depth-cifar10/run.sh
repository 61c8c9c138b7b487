#!/usr/bin/env bash
# Supernets of 3, 5 and 8 cells on CIFAR-10 (JPEG) at 16 x 16 pixels: DARTS' first-order search with
# 8 channels for 4 epochs on 1,500 images; each found cell trained alike, in 5 cells, for 8 epochs
# on 1,000 of them; 5,000 test images.
# From the root of the repository: bash results/depth-cifar10/run.sh
# 9 runs of 100 to 250 s on one core.
. results/study.sh
keep depth-cifar10 study depth "$cifar10" --cells 3,5,8 --seeds 3 --limit 1500 --test-limit 5000 \
  --image-size 16 --search.method darts --search.channels 8 --search.epochs 4 \
  --search.arch-lr 0.02 --train.cells 5 --train.channels 8 --train.epochs 8 \
  --train.batch-size 64 --train.valid-fraction 0.3333 "$@"
