#!/usr/bin/env bash
# Topology 12, which ranks best over results/topology-digits and results/topology-cifar10 together,
# beside topology 1, the default: CIFAR-10 (JPEG), trained as there, more seeds, 5,000
# test images.
# From the root of the repository: bash results/topology-confirm-cifar10/run.sh
. results/study.sh
keep topology-confirm-cifar10 study topology "$cifar10" --operation sep_conv_3x3 \
  --topologies 1,12 --seeds 7 --limit 2500 --test-limit 5000 --image-size 16 --train.cells 5 \
  --train.channels 8 --train.epochs 4 --train.batch-size 64 --train.valid-fraction 0.4 "$@"
