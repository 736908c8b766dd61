"""A real SLURM on the loopback interface: munged, slurmctld and slurmd, with two made-up GPUs.

By hand, as root, with Debian's slurm-wlm and munge installed:
  python tests/support/local_slurm.py /tmp/cluster -- squeue
runs the command inside such a cluster and takes the cluster down again.
"""

import contextlib
import importlib.util
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "setpriv")
CONF = """\
ClusterName=yoyak
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,batch_sched_delay=1
MpiDefault=none
ReturnToService=2
KillWait=15
MinJobAge=600
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 Sockets=1 CoresPerSocket=16 ThreadsPerCore=1 \
RealMemory={memory} Gres=gpu:fake:2 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
GRES = "Name=gpu Type=fake File={folder}/gpu[0-1] Flags=nvidia_gpu_env\n"


def why_not() -> str | None:
    """Why no SLURM can be started here; None if it can."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (Debian's slurm-wlm and munge)"
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        return "not installed: envs/cluster.lock"
    return None if os.geteuid() == 0 else "slurmd must be started by root"


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class LocalSlurm:
    """A running cluster of one node; `environment` is what its client programs need."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{folder / 'bin'}{os.pathsep}{_path()}",
        }
        self._daemons: list[subprocess.Popen] = []

    def start(self) -> None:
        for name in ("state", "spool", "bin"):
            (self.folder / name).mkdir(parents=True)
        # SLURM wants character devices; the number in the name is the GPU's.
        (self.folder / "gpu0").symlink_to("/dev/null")
        (self.folder / "gpu1").symlink_to("/dev/zero")
        # The executor starts `srun` without SLURM_CONF; on a cluster the file has its usual place.
        srun = self.folder / "bin" / "srun"
        srun.write_text(
            f"#!/bin/sh\nexport SLURM_CONF={shlex.quote(self.environment['SLURM_CONF'])}\n"
            f'exec {shutil.which("srun", path=_path())} "$@"\n'
        )
        srun.chmod(0o755)
        values = {
            "host": socket.gethostname().partition(".")[0],
            "folder": self.folder,
            "ctld_port": _free_port(),
            "slurmd_port": _free_port(),
            "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        }
        for name, text in (("slurm.conf", CONF), ("gres.conf", GRES)):
            (self.folder / name).write_text(text.format(**values), encoding="utf-8")
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        munged = [f"--{what}={self.folder}/munge.{end}" for what, end in MUNGE_FILES]
        self._start("munged", "--foreground", "--force", *munged)
        wait_until((self.folder / "munge.socket").exists, 20, "munged", self.logs)
        self._start("slurmctld", "-D")
        self._start("slurmd", "-D")
        wait_until(self._is_idle, 60, "an idle node", self.logs)

    def _start(self, *command: str) -> None:
        log = open(self.folder / f"{command[0]}.out", "wb")  # noqa: SIM115, the daemon's
        self._daemons.append(
            subprocess.Popen(
                # Should this process be killed, the daemon ends as well.
                ["setpriv", "--pdeathsig", "TERM", *command],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        )
        log.close()

    def run(self, *command: str) -> str:
        """Output of a client program."""
        return subprocess.run(
            command,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout

    def _is_idle(self) -> bool:
        with contextlib.suppress(subprocess.SubprocessError):
            return "State=IDLE " in self.run("scontrol", "show", "node")
        return False

    def jobs(self) -> list[dict[str, str]]:
        """`scontrol show job` with details, as one mapping a job."""
        text = self.run("scontrol", "--details", "--oneliner", "show", "job")
        lines = [line for line in text.splitlines() if line.startswith("JobId=")]
        return [dict(re.findall(r"(\w[\w:/]*)=(\S*)", line)) for line in lines]

    def logs(self) -> str:
        files = sorted(self.folder.glob("*.log")) + sorted(self.folder.glob("*.out"))
        parts = [f"--- {file.name}\n{file.read_text(errors='replace')[-3000:]}" for file in files]
        return "\n".join(parts)

    def stop(self) -> None:
        """Cancel what runs and end every process that this cluster started."""
        with contextlib.suppress(subprocess.SubprocessError, OSError):
            self.run("scancel", "--user=root")
            self.run("scancel", "--signal=KILL", "--full", "--user=root")
            wait_until(lambda: not self.run("squeue", "--noheader").strip(), 30, "an empty queue")
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(daemon.pid, signal.SIGKILL)
                daemon.wait()
        self._daemons.clear()


MUNGE_FILES = (
    ("key-file", "key"),
    ("socket", "socket"),
    ("pid-file", "pid"),
    ("log-file", "log"),
    ("seed-file", "seed"),
)


@contextlib.contextmanager
def local_slurm(folder: Path):
    """A cluster in `folder` for as long as the block runs."""
    cluster = LocalSlurm(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def wait_until(condition, seconds: float, what: str, logs=lambda: ""):
    """Poll until `condition()` is true and return its value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds} s for {what}\n{logs()}")


if __name__ == "__main__":
    if reason := why_not():
        sys.exit(f"error: {reason}")
    with local_slurm(Path(sys.argv[1])) as here:
        command = sys.argv[sys.argv.index("--") + 1 :]
        done = subprocess.run(command, env={**os.environ, **here.environment})
    sys.exit(done.returncode)
