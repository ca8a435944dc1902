"""Large buffers leave the process once they are freed."""

import subprocess
import sys

import pytest

SCRIPT = """
import ctypes, sys
from longwatch.pipeline.memory import give_memory_back

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) >> 10 for line in status if line.startswith("VmRSS"))

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
if sys.argv[1] == "yes":
    give_memory_back()
libc.free(libc.malloc(30 << 20))
before = resident()
large = []
for _ in range(4):
    large.append(libc.malloc(20 << 20))
    ctypes.memset(large[-1], 1, 20 << 20)
    pinned = libc.malloc(100_000)
for each in large:
    libc.free(each)
print(resident() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc and asks glibc")
@pytest.mark.parametrize(("asked", "kept"), [("no", range(60, 100)), ("yes", range(-5, 5))])
def test_freed_buffers_are_given_back_where_that_was_asked_for(asked, kept):
    done = subprocess.run([sys.executable, "-c", SCRIPT, asked], capture_output=True, text=True, check=True)
    assert int(done.stdout) in kept
