#!/usr/bin/env bash
# All 180 topologies with 3x3 separable convolutions on every edge of both cells, on the digits:
# 5 cells, 8 channels, 4 epochs on 1,079 images, ranked on 359 held out of the training split.
# From the root of the repository: bash results/topology-digits/run.sh
# 360 runs of 9 s on one core: about an hour.
. results/study.sh
keep topology-digits study topology digits --operation sep_conv_3x3 --seeds 2 \
  --train.cells 5 --train.channels 8 --train.epochs 4 --train.batch-size 64 \
  --train.valid-fraction 0.25 "$@"
