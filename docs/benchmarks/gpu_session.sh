#!/usr/bin/env bash
# The figures of a GPU, in one session of at most ten minutes that goes on where the last one ended:
#
#     bash docs/benchmarks/gpu_session.sh [FOLDER] [SECONDS]
#
# from the repository, with kdna-zoo installed, on a machine with an NVIDIA GPU. Each step leaves a
# JSON file in FOLDER (gpu_session), and is left out where that file is there; what is compiled stays
# in FOLDER/cache. The kernels' tests come first, on the GPU itself. Ends with 0 when all is measured, with 75 when time is up (run it again), with 1
# when a step failed (its message is in FOLDER/NAME.log, and the next run tries it again), and with 2
# when there is no GPU.
set -u
folder=${1:-gpu_session} limit=${2:-600} python=${PYTHON:-python}
mkdir -p "$folder" || exit 2
folder=$(cd "$folder" && pwd)
export TORCHINDUCTOR_CACHE_DIR=$folder/cache/inductor TRITON_CACHE_DIR=$folder/cache/triton
failed=0

if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  echo "torch finds no CUDA device here: run this on a machine with an NVIDIA GPU" >&2
  exit 2
fi

# step NAME COMMAND...: run a command that writes FOLDER/NAME.json
step() {
  local name=$1 left=$((limit - SECONDS))
  shift
  [ -s "$folder/$name.json" ] && return
  if [ "$left" -lt "${SPARE:-20}" ]; then
    echo "time is up before $name: run the same command again to go on" >&2
    exit 75
  fi
  echo "== $name ($left s left)"
  (cd "$folder" && timeout "$left" "$@" --json "$name.json") >"$folder/$name.log" 2>&1
  local code=$?
  tail -n 30 "$folder/$name.log"
  [ "$code" -eq 0 ] && return
  rm -f "$folder/$name.json"
  if [ "$code" -eq 124 ]; then
    echo "time is up in $name: run the same command again to go on" >&2
    exit 75
  fi
  echo "$name failed ($code): see $folder/$name.log" >&2
  failed=1
}

bench() { # NAME ARGUMENTS...
  local name=$1
  shift
  step "$name" "$python" -m kdna_zoo.cli bench "$@" --device cuda --dtype bfloat16 --rounds 9
}

zoo="own:kdna_resnet18 kdna_resnet18 own:kdna_resnet50 kdna_resnet50 own:kdna_mobilenetv2 kdna_mobilenetv2 own:kdna_convnext_t kdna_convnext_t"
peers="resnet18 own:kdna_resnet18 kdna_resnet18 condconv_resnet18 dyconv_resnet18 odconv_resnet18 odconv4x_resnet18 kwhalf_resnet18 kw_resnet18 kw4x_resnet18"
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

# Times of kernels that compute something else would be worth nothing.
if [ ! -e "$folder/gpu_tests.passed" ]; then
  echo "== tests of the kernels"
  if timeout "$limit" "$python" -m pytest -q tests/layers/kernels >"$folder/gpu_tests.log" 2>&1; then
    touch "$folder/gpu_tests.passed"
  else
    tail -n 30 "$folder/gpu_tests.log"
    echo "the kernels' tests failed: see $folder/gpu_tests.log" >&2
    failed=1
  fi
fi

# Lists of names are split on purpose.
# shellcheck disable=SC2086
{
  step gpu_launches "$python" -m docs.launches --profile
  bench gpu_zoo_train $zoo --mode train --form channels_last --batch-size 128
  export KDNA_ZOO_KERNELS=0
  bench gpu_zoo_train_plain $zoo --mode train --form channels_last --batch-size 128
  bench gpu_zoo_infer_1_plain $zoo --form fused_channels_last --batch-size 1 --no-memory
  unset KDNA_ZOO_KERNELS
  bench gpu_zoo_infer_1 $zoo --form fused_channels_last --batch-size 1 --no-memory
  bench gpu_zoo_infer $zoo --form fused_channels_last --batch-size 128
  for network in kdna_resnet18 kdna_mobilenetv2 kdna_resnet50 kdna_convnext_t; do
    bench "gpu_compiled_train_${network#kdna_}" "own:$network" "$network" --mode train \
      --form compiled,compiled_graphs --batch-size 128 --no-memory
    bench "gpu_compiled_1_${network#kdna_}" "own:$network" "$network" \
      --form compiled,compiled_graphs --batch-size 1 --no-memory
  done
  bench gpu_train_128 $peers --mode train --form channels_last --batch-size 128
  bench gpu_infer_128 $peers --form channels_last,fused_channels_last --batch-size 128
  bench gpu_infer_1 $peers --form fused_channels_last --batch-size 1 --no-memory
  bench gpu_compiled resnet18 own:kdna_resnet18 kdna_resnet18 odconv_resnet18 \
    --form channels_last,compiled --batch-size 128 --no-memory
}
exit "$failed"
