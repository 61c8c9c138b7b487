#!/usr/bin/env bash
# The slides' table of four rows on CIFAR-10 (JPEG): DARTS' first-order search with 5 cells of 8
# channels for 12 epochs on 2,000 images or a sixth of them, updates at each step or each epoch.
# From the root of the repository: bash results/skips-cifar10/run.sh
# Estimate: 37 ms per image and pass on two threads (results/methods-small): the four searches of a
# seed take 15, 2.5, 7.5 and 1.2 minutes, the trainings 6: four seeds, 2.2 hours.
. results/study.sh
keep skips-cifar10 study skips "$cifar10" --seeds 4 --limit 2000 \
  --search.method darts --search.cells 5 --search.channels 8 --search.epochs 12 \
  --search.arch-lr 0.02 --train.cells 5 --train.channels 8 --train.epochs 8 --train.batch-size 64 \
  --train.valid-fraction 0.3333 "$@"
