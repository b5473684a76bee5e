#!/bin/bash
#SBATCH --job-name=dlx
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --time=12:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --no-kill
#SBATCH --open-mode=append
#SBATCH --output=dlx-%j.log

# sbatch cluster/slurm.sh STUDY [OPTION...]: what `dlx run` takes. Ray runs over the nodes of the allocation. When its
# time is nearly up the job stops its run, is queued again, and the same command carries on from the store.
set -euo pipefail

GRACE="${DLX_GRACE:-200}"  # seconds that packs get to finish after the signal; less than the 300 above

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
port=$((20000 + SLURM_JOB_ID % 10000))
umask 077
RAY_AUTH_TOKEN="$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED=0
unset RAY_ADDRESS

step() { # NODES NODELIST COMMAND...; in a subshell, which becomes srun
  exec srun --nodes="$1" --ntasks="$1" --ntasks-per-node=1 --nodelist="$2" --cpus-per-task="$SLURM_CPUS_PER_TASK" \
    --kill-on-bad-exit=0 "${@:3}"
}

steps=()
clean() {
  for pid in "${steps[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  wait
  steps=()
}
trap clean EXIT

start=(ray start --block --num-cpus="$SLURM_CPUS_PER_TASK" "--temp-dir=/tmp/ray-$SLURM_JOB_ID")
address="$(step 1 "${nodes[0]}" hostname --all-ip-addresses | awk '{print $1}')"
step 1 "${nodes[0]}" "${start[@]}" --head --node-ip-address="$address" --port="$port" --include-dashboard=false \
  --ray-client-server-port=$((port + 10000)) &  # else 10001, which a head of another job on this node may hold
steps+=($!)
until ray health-check --address "$address:$port" >/dev/null 2>&1; do
  if ! kill -0 "${steps[0]}" 2>/dev/null || ((SECONDS > 300)); then
    echo "Ray's head does not start; see /tmp/ray-$SLURM_JOB_ID on ${nodes[0]}" >&2
    exit 1
  fi
  sleep 1
done
if ((${#nodes[@]} > 1)); then
  others="$(IFS=,; echo "${nodes[*]:1}")"
  step $((${#nodes[@]} - 1)) "$others" "${start[@]}" --address="$address:$port" &
  steps+=($!)
fi

leaving=""
trap 'leaving=requeue' USR1
trap 'leaving=end' TERM
dlx run "$@" --address "$address:$port" --wait &
driver=$!
told=""
while kill -0 "$driver" 2>/dev/null; do
  wait "$driver" || true
  if [[ -n "$leaving" && -z "$told" ]]; then
    told=yes
    kill -TERM "$driver" 2>/dev/null || true
    (sleep "$GRACE"; kill -TERM "$driver") >/dev/null 2>&1 &
    steps+=($!)
  fi
done
code=0
wait "$driver" || code=$?

clean
if [[ "$leaving" == requeue && "$code" == 3 ]]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
