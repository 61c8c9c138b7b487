#!/usr/bin/env bash
# The slides' table of four rows on CIFAR-10 (JPEG) at 16 x 16 pixels: DARTS' first-order search
# with 5 cells of 8 channels for 6 epochs on 1,500 images or a sixth of them, updates at each step
# or each epoch; each found cell trained for 8 epochs on 1,000 of them; 5,000 test images.
# From the root of the repository: bash results/skips-cifar10/run.sh
# 16 runs, 20 to 150 s each on one core.
. results/study.sh
keep skips-cifar10 study skips "$cifar10" --seeds 4 --limit 1500 --test-limit 5000 \
  --image-size 16 --search.method darts --search.cells 5 --search.channels 8 --search.epochs 6 \
  --search.arch-lr 0.02 --train.cells 5 --train.channels 8 --train.epochs 8 \
  --train.batch-size 64 --train.valid-fraction 0.3333 "$@"
