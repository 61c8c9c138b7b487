#!/usr/bin/env bash
# All 180 topologies with 3x3 separable convolutions on every edge of both cells, on CIFAR-10 (JPEG)
# at 16 x 16 pixels: 5 cells, 8 channels, 4 epochs on 1,500 images, ranked on 1,000 held out of the
# training split; 2,000 test images.
# From the root of the repository: bash results/topology-cifar10/run.sh
# 180 runs of about 25 s on one core: 75 minutes.
. results/study.sh
keep topology-cifar10 study topology "$cifar10" --operation sep_conv_3x3 --seeds 1 --limit 2500 \
  --test-limit 2000 --image-size 16 --train.cells 5 --train.channels 8 --train.epochs 4 \
  --train.batch-size 64 --train.valid-fraction 0.4 --beside runs/topology-digits "$@"
