"""A Slurm of one node on loopback, with files and processes of its own; gone at the end."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sinfo", "squeue", "sbatch", "srun", "scancel")
MISSING = [
    name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None
]
PLUGIN = "snakemake_executor_plugin_slurm"
needs_slurm = pytest.mark.skipif(
    bool(MISSING), reason=f"Slurm is not installed here ({', '.join(MISSING)})"
)
needs_plugin = pytest.mark.skipif(
    find_spec(PLUGIN) is None, reason=f"{PLUGIN} is not installed; `make slurm` installs it"
)
# Accounting, cgroups and systemd are left out; memory and cores are still counted out to jobs.
CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket={folder}/munge.socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmdSpoolDir={folder}/spool
StateSaveLocation={folder}/state
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0,bf_interval=1
SlurmdParameters=config_overrides
EnforcePartLimits=ALL
KillWait=2
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=16000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE DefMemPerCPU=500 State=UP
"""


def _free_ports(n: int) -> list[int]:
    with ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(n)]
        for each in found:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in found]


@contextmanager
def _running(command: list[str], log: Path, env: Mapping[str, str]) -> Iterator[None]:
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env=env)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def one_node(folder: Path) -> Iterator[dict[str, str]]:
    """Start Slurm with its files in ``folder``; yields the variables its commands need."""
    for name in ("spool", "state"):
        (folder / name).mkdir(parents=True)
    host = socket.gethostname().partition(".")[0]
    conf = folder / "slurm.conf"
    conf.write_text(
        CONF.format(folder=folder, host=host, user=getpass.getuser(), ports=_free_ports(2)),
        encoding="utf-8",
    )
    key = folder / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    names = ("socket", "pid-file", "log-file", "seed-file")
    munged = [f"--{name}={folder}/munge.{name.partition('-')[0]}" for name in names]
    env = {**os.environ, "SLURM_CONF": str(conf), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    daemons = {
        "munged": ["munged", "--foreground", "--force", f"--key-file={key}", *munged],
        "slurmctld": ["slurmctld", "-D"],
        "slurmd": ["slurmd", "-D"],
    }
    with ExitStack() as stack:
        for name, command in daemons.items():
            stack.enter_context(_running(command, folder / f"{name}.out", env))
            _wait_for((folder / "munge.socket").exists, folder)
        _wait_for(lambda: ask(env, "sinfo", "-h", "-o", "%T") == "idle", folder)
        try:
            yield {"SLURM_CONF": str(conf)}
        finally:  # jobs outlive the daemons that started them
            ask(env, "scancel", "--user", getpass.getuser())
            _wait_for(lambda: ask(env, "squeue", "-h") == "", folder)


def ask(env: Mapping[str, str], *command: str) -> str:
    """Return what a command of Slurm prints."""
    done = subprocess.run(
        command, env={**os.environ, **env}, capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout.strip()


def _wait_for(ready: Callable[[], bool], folder: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            said = [path.read_text("utf-8", "replace")[-500:] for path in folder.glob("*.out")]
            pytest.fail("Slurm does not answer: " + " ".join(said))
        time.sleep(0.1)
