#!/usr/bin/env bash
# The slides' eight subsets on CIFAR-10 (JPEG): DARTS' first-order search with 5 cells of 8 channels
# for 8 epochs on 2,000 images; each found cell trained for 8 epochs on 1,334 of them.
# From the root of the repository: bash results/operations-cifar10/run.sh
# Estimate: results/methods-small has 37 ms per image and pass for all eight operations on two
# threads, so about 23 ms for five: 16,000 passes are 6 minutes, the training 1.5: 24 runs, 3 hours.
. results/study.sh
keep operations-cifar10 study operations "$cifar10" --subsets SS1..SS8 --seeds 3 --limit 2000 \
  --search.method darts --search.cells 5 --search.channels 8 --search.epochs 8 \
  --search.arch-lr 0.02 --train.cells 5 --train.channels 8 --train.epochs 8 \
  --train.batch-size 64 --train.valid-fraction 0.3333 "$@"
