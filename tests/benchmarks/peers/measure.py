"""Runs a program and measures it with everything that it starts."""
import contextlib
import ctypes
import os
import resource
import select
import signal
import subprocess
import time

# Rarely: looking takes processor time from the program.
SAMPLE_SECONDS = 0.2
PSS_SECONDS = 1.0
# What a program may leave running when it ends (Ray's actors take a while).
GRACE_SECONDS = 20.0

_PR_SET_CHILD_SUBREAPER = 36
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MIB = 2**20


class Failure(Exception):
    """The program did not end as it should."""


def adopt_orphans():
    """Makes this process the parent of daemons that its children leave."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _processes():
    """By process: parent, CPU seconds, resident bytes."""
    table = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue  # It has ended.
        table[int(name)] = (int(fields[1]),
                            (int(fields[11]) + int(fields[12])) / _TICKS,
                            int(fields[21]) * _PAGE)
    return table


def _pss(pid):
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/smaps_rollup") as file:
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
    return 0


def _busy_seconds():
    """CPU time that all processes of the machine, and its host, have used."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, irq, softirq, steal = map(
            int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / _TICKS


class _Tree:
    """The descendants of this process, looked at now and then."""

    def __init__(self, with_pss):
        self.cpu = {}
        self.peak_rss = 0
        self.peak_pss = 0
        self.peak_processes = 0
        self._with_pss = with_pss
        self._next_pss = 0.0

    def sample(self):
        """Returns the processes that there are."""
        table = _processes()
        members = set()
        frontier = {os.getpid()}
        while frontier:
            frontier = {pid for pid, entry in table.items()
                        if entry[0] in frontier and pid not in members}
            members |= frontier
        for pid in members:
            self.cpu[pid] = table[pid][1]
        self.peak_rss = max(self.peak_rss, sum(table[p][2] for p in members))
        self.peak_processes = max(self.peak_processes, len(members))
        if self._with_pss and time.monotonic() >= self._next_pss:
            self._next_pss = time.monotonic() + PSS_SECONDS
            self.peak_pss = max(self.peak_pss, sum(_pss(p) for p in members))
        return members


def _reap():
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass


def _end_the_rest(tree, grace):
    """Waits `grace` seconds for what the program left, then ends it."""
    deadline = time.monotonic() + grace
    while True:
        _reap()
        members = tree.sample()
        if not members:
            return
        if time.monotonic() > deadline:
            for pid in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(SAMPLE_SECONDS)


def run(command, environment, cpus, folder, timeout, with_pss):
    """Runs `command` on the processors `cpus`, with its output in `folder`.

    Returns what it printed and what it took: wall_seconds, cpu_seconds (user
    and system, of all its processes), peak_rss_mib (the sum over its processes,
    which counts shared pages once per process), peak_pss_mib (the same with
    shared pages divided among those that share them; 0 unless asked for, since
    it slows the program down), processes, minor_faults, and other_cpu_share,
    what the rest of the machine used of its processors meanwhile.
    """
    tree = _Tree(with_pss)
    reaped = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = _busy_seconds()
    outputs = [os.path.join(folder, name) for name in ("stdout", "stderr")]
    with open(outputs[0], "wb") as stdout, open(outputs[1], "wb") as stderr:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
            stdout=stdout, stderr=stderr, start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cpus))
    ended = os.pidfd_open(process.pid)
    grace = 0
    try:
        while not select.select([ended], [], [], SAMPLE_SECONDS)[0]:
            tree.sample()
            if time.perf_counter() - start > timeout:
                os.killpg(process.pid, signal.SIGKILL)
        wall = time.perf_counter() - start
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        grace = GRACE_SECONDS
    finally:
        os.close(ended)
        _end_the_rest(tree, grace)
    with open(outputs[0], errors="replace") as file:
        printed = file.read()
    if process.returncode != 0:
        with open(outputs[1], errors="replace") as file:
            last = "".join(file.readlines()[-15:])
        cause = ("ran past its time" if wall > timeout
                 else f"ended with {process.returncode}")
        raise Failure(f"{cause}:\n{last}")
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Children that nobody waits for are missing in the one, what happens
    # between samples in the other.
    cpu = max(children.ru_utime + children.ru_stime
              - reaped.ru_utime - reaped.ru_stime, sum(tree.cpu.values()))
    machine = (time.perf_counter() - start) * os.cpu_count()
    return printed, {
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "peak_rss_mib": max(tree.peak_rss, usage.ru_maxrss * 1024) / _MIB,
        "peak_pss_mib": tree.peak_pss / _MIB,
        "processes": tree.peak_processes,
        "minor_faults": children.ru_minflt - reaped.ru_minflt,
        "other_cpu_share": max(0.0, _busy_seconds() - busy - cpu) / machine,
    }
