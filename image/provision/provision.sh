#!/usr/bin/env bash
# Makes a node's image of the machine that this runs on: every numbered script beside it, in order.
#
#   provision.sh --this-machine
#
# PACKAGE_SOURCES   folder with *.sources, keyrings, *.deb and pip.conf that the distribution lacks (docs/image.md)
# WITH_GPU=0        no driver, no DCGM, no CUDA: for an image that is booted where no GPU is
# WITH_CLOUDWATCH=0 no CloudWatch agent
set -euo pipefail

if [[ ${1:-} != --this-machine ]]; then
  echo "provision.sh: it turns the machine it runs on into a node; say --this-machine if that is what you want" >&2
  exit 2
fi
for script in "$(dirname "$(realpath "$0")")"/[0-9][0-9]-*.sh; do
  echo "== $(basename "$script")"
  bash "$script"
done
