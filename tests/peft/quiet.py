"""Whether the machine did anything else while something was measured.

A measurement on a loaded machine is no measurement: beside one busy process a ratio of two came out as seven.
"""

import os
import resource
import sys
import time

# Processor time of others, stolen time included, as a fraction of all of the machine's.
LIMIT = 0.05
# How long a loaded machine is waited for, in seconds.
PATIENCE = 60


def processor_seconds():
    """(what all processes used, what the hypervisor took away) since the machine began, in seconds of one core."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, file.readline().split()[1:9])
    ticks = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) / ticks, steal / ticks


def own_seconds():
    """What this process and its ended children used."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


class Quiet:
    """Use as a context around a measurement; `foreign` is then the fraction of the machine that others used."""

    def __enter__(self):
        self.busy, self.stolen = processor_seconds()
        self.own, self.started = own_seconds(), time.perf_counter()
        return self

    def __exit__(self, *error):
        busy, stolen = processor_seconds()
        wall = (time.perf_counter() - self.started) * os.cpu_count()
        others = busy - self.busy - (own_seconds() - self.own)
        self.foreign = max(0.0, others + stolen - self.stolen) / max(wall, 1e-9)

    @property
    def is_quiet(self):
        return self.foreign <= LIMIT


def wait(tell=lambda line: print(line, file=sys.stderr)):
    """Waits until the machine is quiet. False if it stays loaded."""
    for second in range(PATIENCE):
        with Quiet() as second_of_rest:
            time.sleep(1)
        if second_of_rest.is_quiet:
            return True
        if second == 0:
            load = os.getloadavg()[0]
            tell(f"waiting: others use {second_of_rest.foreign:.0%} of the machine (load {load:.1f})")
    return False
