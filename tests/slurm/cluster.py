"""A real Slurm of three nodes on this machine, confined to a folder, its own ports and namespaces.

Each `slurmd` lives in its own UTS, mount and PID namespaces, so that it has a name of its own and all its jobs die with it.
Beside the three there are 64 nodes with 8 H100 each that never come up: for `sbatch --test-only`.
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "unshare", "setpriv", "shellcheck")
NODES = ("n1", "n2", "n3")
PATIENCE = 900.0  # seconds: only a test that fails waits so long, and a busy machine may be 20 times slower
PATH = f"{os.environ['PATH']}:/usr/sbin"
CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=5
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/%n.pid
SlurmdLogFile={folder}/%n.log
SlurmdSpoolDir={folder}/spool.%n
StateSaveLocation={folder}/state
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=bf_interval=1,sched_interval=2,batch_sched_delay=0,sched_min_interval=0
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MailProg=/bin/true
PropagateResourceLimits=NONE
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
SlurmdTimeout=15
MinJobAge=3600
GresTypes=gpu
{nodes}
NodeName=h100-[01-64] NodeAddr=127.0.0.9 CPUs=192 RealMemory=2000000 Gres=gpu:h100:8 State=CLOUD
PartitionName=main Nodes={names} Default=YES State=UP
PartitionName=h100 Nodes=h100-[01-64] MaxTime=3-00:00:00 State=UP
"""


class Cluster:
    """Running from `start` until `stop`. `environment` is what its commands need."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="slm", dir="/tmp"))  # short: the path of a Unix socket is limited
        own = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SBATCH", "SRUN"))}
        self.environment = own | {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": PATH}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Returns when all nodes are idle."""
        folder = self.folder
        folder.chmod(0o755)  # munged wants all to pass on the way to its socket
        self._configure()
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        places = {"key-file": key, "socket": folder / "munge.sock", "pid-file": folder / "munged.pid"}
        places |= {"log-file": folder / "munged.log", "seed-file": folder / "munged.seed"}
        self._spawn("munged", "munged", "-F", *(f"--{name}={place}" for name, place in places.items()))
        until((folder / "munge.sock").exists, "munged's socket")
        self._spawn("slurmctld", "slurmctld", "-D", "-c")
        for name in NODES:
            self.power_on(name)
        until(lambda: set(self.nodes().values()) == {"idle"}, "three idle nodes")

    def _configure(self) -> None:
        folder, host = self.folder, socket.gethostname()
        for name in ("state", *(f"spool.{node}" for node in NODES)):
            (folder / name).mkdir()
        addresses = {name: f"127.0.0.{10 + i}" for i, name in enumerate(NODES)}
        lines = [
            f"NodeName={name} NodeHostname={host} NodeAddr={address} Port={_free_port()} CPUs=32 RealMemory=64000 Gres=gpu:4"
            for name, address in addresses.items()
        ]
        conf = CONF.format(
            host=host,
            user=getpass.getuser(),
            port=_free_port(),
            folder=folder,
            nodes="\n".join(lines),
            names=",".join(NODES),
        )
        (folder / "slurm.conf").write_text(conf)
        (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")  # looks for no systemd
        for number in range(4):
            os.mknod(folder / f"gpu{number}", 0o20666, os.makedev(1, 3))
        own, h100 = f"Name=gpu File={folder}/gpu[0-3]", "NodeName=h100-[01-64] Name=gpu Type=h100 Count=8"
        (folder / "gres.conf").write_text(f"AutoDetect=off\nNodeName={','.join(NODES)} {own}\n{h100}\n")
        hosts = "".join(f"{address} {name}\n" for name, address in addresses.items())
        (folder / "hosts").write_text(f"127.0.0.1 localhost {host}\n{hosts}")

    def _spawn(self, name: str, *words: str) -> None:
        with (self.folder / f"{name}.out").open("ab") as out:
            self._running[name] = subprocess.Popen(
                ("setpriv", "--pdeathsig", "KILL", *words),  # whatever ends the tests ends the cluster
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=self.environment,
                start_new_session=True,
            )

    def power_on(self, node: str) -> None:
        inside = f"mount --bind {self.folder}/hosts /etc/hosts && hostname {node} && exec slurmd -D -N {node}"
        namespaces = ("--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
        self._spawn(node, "unshare", *namespaces, "sh", "-c", inside)

    def power_off(self, node: str) -> None:
        """As when the plug is pulled: every process of the node is gone at once, and nobody is told."""
        process = self._running.pop(node)
        process.kill()
        process.wait()

    def nodes(self) -> dict[str, str]:
        """Node -> state."""
        said = self.run("sinfo", "--noheader", "--Node", "--partition=main", "--format=%N %T", check=False)
        return dict(line.split() for line in said.splitlines())

    def run(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(words, env=self.environment, text=True, capture_output=True)
        assert not check or done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout.strip()

    def job(self, job: str) -> dict[str, str]:
        """What Slurm knows of one job or array task."""
        said = self.run("scontrol", "show", "job", job, "-o")
        return dict(word.split("=", 1) for word in said.split() if "=" in word)

    def stop(self) -> None:
        """Nodes first, at once; then the controller and munge."""
        for name, process in sorted(self._running.items(), key=lambda item: item[0] not in NODES):
            process.send_signal(signal.SIGKILL if name in NODES else signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def until(true: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Wait for something; fails the test if it does not come."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"waited {seconds:g} s in vain for {what}"
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port
