#!/usr/bin/env bash
# A SLURM with two nodes on this machine, for ../test_slurm.py; it can also be used by hand, in a
# generated project. On Debian or Ubuntu, as root:
#   apt-get install --no-install-recommends slurmctld slurmd slurm-client munge
#   bash local.sh           # starts the daemons and prints what to export; bash local.sh stop ends them
#   sbatch --nodes=2 --gpus-per-node=0 --cpus-per-task=1 slurm/train.sbatch trainer.accelerator=cpu
# A job that is put back into the queue waits for two minutes by SLURM's design;
# scontrol update JobId=<job> StartTime=now skips that.
set -euo pipefail

place=${SLURM_LOCAL:-/tmp/slurm-local}
export SLURM_CONF=$place/slurm.conf
if [ "${1:-}" = stop ]; then
  scancel --user="$(id -un)"
  timeout 60 bash -c 'while [ -n "$(squeue --noheader)" ]; do sleep 1; done' # a job needs the daemons to end
  cat "$place"/*.pid "$place"/munge/pid | xargs kill
  exit
fi

host=$(hostname -s)
mkdir -p "$place"/{state,log,n1,n2,munge}
chmod 755 "$place"
[ -s "$place/munge/key" ] || head -c 1024 /dev/urandom > "$place/munge/key"
chmod 600 "$place/munge/key"
cat > "$SLURM_CONF" << END
ClusterName=local
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthInfo=socket=$place/munge/sock
StateSaveLocation=$place/state
SlurmdSpoolDir=$place/%n
SlurmctldPidFile=$place/slurmctld.pid
SlurmdPidFile=$place/slurmd-%n.pid
SlurmctldLogFile=$place/log/slurmctld
SlurmdLogFile=$place/log/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=17001 CPUs=2 RealMemory=4000
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=17002 CPUs=2 RealMemory=4000
PartitionName=main Nodes=n1,n2 Default=YES State=UP
END
munged --force --key-file="$place/munge/key" --socket="$place/munge/sock" --pid-file="$place/munge/pid" \
  --log-file="$place/munge/log" --seed-file="$place/munge/seed"
slurmctld -c
slurmd -N n1
slurmd -N n2
echo "export SLURM_CONF=$SLURM_CONF MASTER_ADDR=127.0.0.1"
