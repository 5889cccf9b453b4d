"""What the Linux kernel takes from a process: namespaces, Landlock, seccomp, capabilities.

Standard library and system calls only: `process.py` runs this before it runs a program. Sources:
Linux's user-space headers (asm/unistd_64.h, asm-generic/unistd.h, linux/landlock.h,
linux/seccomp.h, linux/filter.h) and Documentation/userspace-api/{landlock,seccomp_filter}.rst.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import struct
import sys
import sysconfig

_libc = ctypes.CDLL(None, use_errno=True)
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF, _CAPSET = 444, 445, 446, {"x86_64": 126, "aarch64": 91}
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 22, 36, 38
_MACHINE = platform.machine()
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


class Missing(Exception):
    """The kernel refuses a protection without which no program is run; the argument names it."""


def _check(result: int, what: str) -> int:
    if result < 0:
        raise Missing(f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


# --- namespaces: other processes, the network and System V memory are out of sight -------------

_NEW = {"user": 0x10000000, "pid": 0x20000000, "net": 0x40000000, "ipc": 0x08000000}


def new_namespaces() -> list[str]:
    """Enter new namespaces where the kernel allows it, and name them; the caller's next child is
    the first process of the new pid namespace. All of them or, where that is refused, none."""
    user, group = os.getuid(), os.getgid()
    for names in (["user", "pid", "net", "ipc"], ["pid", "net", "ipc"]):  # root may need no `user`
        if _libc.unshare(sum(_NEW[name] for name in names)) == 0:
            if "user" in names:
                with contextlib.suppress(OSError):
                    _write("/proc/self/setgroups", "deny")
                _write("/proc/self/uid_map", f"{user} {user} 1")
                _write("/proc/self/gid_map", f"{group} {group} 1")
            return names
    return []


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


# --- Landlock: which files --------------------------------------------------------------------

_WRITE_FILE, _READ_FILE, _READ_DIR, _MAKE_REG = 2, 4, 8, 256
_TRUNCATE = 1 << 14  # from version 3 on
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
READABLE = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo")
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")


def landlock_version() -> int:
    return int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1))


def python_folders() -> list[str]:
    """Where this interpreter's modules lie."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = {sysconfig.get_path(name) for name in names}
    folders |= {os.path.dirname(os.path.realpath(folder)) for folder in folders if folder}
    return sorted({f for f in folders if f} | {f"{sys.base_prefix}/lib"})


def landlock_ruleset(writable: str) -> int:
    """A file descriptor of the rules: Python and the system's libraries may be read, plain files
    in the folder `writable` be made and written, and nothing else be touched. No file can be
    removed or renamed: one without a name would take space that nobody sees.

    Raises: Missing.
    """
    version = _check(landlock_version(), "Landlock (a kernel of 5.13 or later that has it on)")
    handled = _FILE_RIGHTS[max(v for v in _FILE_RIGHTS if v <= version)]
    network, scoped = (3 if version >= 4 else 0), (3 if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    attributes = struct.pack("QQQ", handled, network, scoped)[:size]
    ruleset = _check(
        _libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0), "Landlock rules"
    )
    own = _READ_FILE | _READ_DIR | _WRITE_FILE | _MAKE_REG | (_TRUNCATE & handled)
    read = _READ_FILE | _READ_DIR
    rules = [(path, read) for path in (*python_folders(), *READABLE)] + [(writable, own)]
    for path, rights in [*rules, *((path, _READ_FILE | _WRITE_FILE) for path in DEVICES)]:
        try:
            folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # this system has no such place
        rights &= ~0 if os.path.isdir(path) else _READ_FILE | _WRITE_FILE | _TRUNCATE
        rule = struct.pack("=Qi", rights, folder)
        _check(_libc.syscall(_ADD_RULE, ruleset, 1, rule, 0), f"Landlock rule for {path}")
        os.close(folder)
    return ruleset


# --- seccomp: which system calls ----------------------------------------------------------------

# name: (number on x86_64, on aarch64); -1: that machine has none. What is not here is refused:
# processes, programs, sockets, signals to others, mounts, keys, tracing, modes and owners of files,
# and what makes room on the disk that a file's size does not tell (fallocate, unlink, rename).
_BOTH = {
    **{"read": (0, 63), "write": (1, 64), "close": (3, 57), "fstat": (5, 80), "lseek": (8, 62)},
    **{"mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214)},
    **{"rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139)},
    **{"rt_sigpending": (127, 136), "rt_sigtimedwait": (128, 137), "rt_sigsuspend": (130, 133)},
    **{"sigaltstack": (131, 132), "pread64": (17, 67), "pwrite64": (18, 68), "readv": (19, 65)},
    **{"writev": (20, 66), "preadv": (295, 69), "pwritev": (296, 70), "pipe2": (293, 59)},
    **{"ppoll": (271, 73), "pselect6": (270, 72), "sched_yield": (24, 124)},
    **{"sched_getaffinity": (204, 123), "mremap": (25, 216), "msync": (26, 227)},
    **{"mincore": (27, 232), "madvise": (28, 233), "dup": (32, 23), "dup3": (292, 24)},
    **{"nanosleep": (35, 101), "clock_nanosleep": (230, 115), "clock_gettime": (228, 113)},
    **{"clock_getres": (229, 114), "gettimeofday": (96, 169), "times": (100, 153)},
    **{"getitimer": (36, 102), "setitimer": (38, 103), "getpid": (39, 172), "getppid": (110, 173)},
    **{"gettid": (186, 178), "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176)},
    **{"getegid": (108, 177), "getresuid": (118, 148), "getresgid": (120, 150)},
    **{"getgroups": (115, 158), "getpgid": (121, 155), "getsid": (124, 156)},
    **{"exit": (60, 93), "exit_group": (231, 94), "wait4": (61, 260), "waitid": (247, 95)},
    **{"uname": (63, 160), "flock": (73, 32), "fsync": (74, 82), "fdatasync": (75, 83)},
    **{"ftruncate": (77, 46), "getdents64": (217, 61), "getcwd": (79, 17)},
    **{"chdir": (80, 49), "fchdir": (81, 50)},
    **{"readlinkat": (267, 78), "newfstatat": (262, 79)},
    **{"faccessat": (269, 48), "faccessat2": (439, 439), "statx": (332, 291), "statfs": (137, 43)},
    **{"fstatfs": (138, 44), "umask": (95, 166), "fadvise64": (221, 223), "getrusage": (98, 165)},
    **{"sysinfo": (99, 179), "getrlimit": (97, 163), "setrlimit": (160, 164), "futex": (202, 98)},
    **{"set_tid_address": (218, 96), "set_robust_list": (273, 99), "get_robust_list": (274, 100)},
    **{"eventfd2": (290, 19), "epoll_create1": (291, 20), "epoll_ctl": (233, 21)},
    **{"epoll_pwait": (281, 22), "getrandom": (318, 278), "rseq": (334, 293)},
    **{"membarrier": (324, 283), "restart_syscall": (219, 128), "close_range": (436, 436)},
    **{"stat": (4, -1), "lstat": (6, -1), "poll": (7, -1), "access": (21, -1), "pipe": (22, -1)},
    **{"select": (23, -1), "dup2": (33, -1), "pause": (34, -1), "alarm": (37, -1)},
    **{"readlink": (89, -1), "creat": (85, -1)},
    **{"time": (201, -1), "arch_prctl": (158, -1), "epoll_create": (213, -1)},
    **{"epoll_wait": (232, -1), "getpgrp": (111, -1)},
}
# (number on x86_64, on aarch64), argument, its values that are allowed.
_FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 1030)  # descriptors and locks; none that sends signals to others
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5450, 0x5451)  # is it a terminal, how much is there to read
_BY_VALUE = {"fcntl": ((72, 25), 1, _FCNTL), "ioctl": ((16, 29), 1, _IOCTL)}
# kill, tgkill and prlimit64: of the process itself, which prlimit64 may also call 0.
_OF_ITSELF = (((62, 129),), ((234, 131),), ((302, 261), 0))
_OPEN = {"open": ((2, -1), 1), "openat": ((257, 56), 2)}
_CLONE = (56, 220)
_CLONE_THREAD = 0x10000
_NAMELESS = 0o20000000  # of O_TMPFILE, the bit that is not O_DIRECTORY's
# Landlock before version 3 lets who has no right to write empty a file; 3 is neither of reader and
# writer, and asks Landlock for no right at all
_TRUNCATING, _NO_WRITER = os.O_TRUNC | os.O_ACCMODE, (os.O_TRUNC, os.O_TRUNC | os.O_ACCMODE)
_NEWER = 424  # system calls from here on have one number everywhere; an unknown one is "not there"
_LOAD, _AND, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_KILL, _ALLOW, _ERRNO = 0x80000000, 0x7FFF0000, 0x00050000
_EPERM, _ENOSYS = _ERRNO | 1, _ERRNO | 38


def _step(code: int, k: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("HBBI", code, yes, no, k)


def _argument(index: int) -> bytes:
    """The low half of an argument; all that are looked at are 32 bits wide."""
    return _step(_LOAD, 16 + 8 * index)


def _branch(number: int, body: list[bytes]) -> bytes:
    """`body`, which ends in a return, for one system call; for the others nothing."""
    return b"" if number < 0 else _step(_EQUAL, number, 0, len(body)) + b"".join(body)


def _one_of(argument: int, values: tuple[int, ...]) -> list[bytes]:
    steps = [_argument(argument)]
    for value in values:
        steps += [_step(_EQUAL, value, 0, 1), _step(_RETURN, _ALLOW)]
    return [*steps, _step(_RETURN, _EPERM)]


def _fixed_filter() -> tuple[bytes, bytes]:
    """The filter before and after what depends on the process's own number."""
    machine = list(_AUDIT_ARCH).index(_MACHINE)
    head = _step(_LOAD, 4) + _step(_EQUAL, _AUDIT_ARCH[_MACHINE], 1, 0) + _step(_RETURN, _KILL)
    head += _step(_LOAD, 0)
    for numbers in _BOTH.values():
        head += _branch(numbers[machine], [_step(_RETURN, _ALLOW)])
    for numbers, argument, values in _BY_VALUE.values():
        head += _branch(numbers[machine], _one_of(argument, values))
    for numbers, argument in _OPEN.values():
        steps = [_argument(argument), _step(_ANY_BIT, _NAMELESS, 0, 1), _step(_RETURN, _EPERM)]
        steps.append(_step(_AND, _TRUNCATING))
        for value in _NO_WRITER:
            steps += [_step(_EQUAL, value, 0, 1), _step(_RETURN, _EPERM)]
        head += _branch(numbers[machine], [*steps, _step(_RETURN, _ALLOW)])
    thread = [_step(_ANY_BIT, _CLONE_THREAD, 0, 1), _step(_RETURN, _ALLOW), _step(_RETURN, _EPERM)]
    head += _branch(_CLONE[machine], [_argument(0), *thread])
    tail = _step(_AT_LEAST, _NEWER, 0, 1) + _step(_RETURN, _ENOSYS) + _step(_RETURN, _EPERM)
    return head, tail


if _MACHINE in _AUDIT_ARCH:
    _HEAD, _TAIL = _fixed_filter()


def _seccomp() -> None:
    machine, own = list(_AUDIT_ARCH).index(_MACHINE), os.getpid()
    body = b"".join(
        _branch(numbers[machine], _one_of(0, (own, *others))) for numbers, *others in _OF_ITSELF
    )
    steps = ctypes.create_string_buffer(_HEAD + body + _TAIL, len(_HEAD + body + _TAIL))

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]

    program = Program(len(steps) // 8, ctypes.addressof(steps))
    _check(_libc.prctl(_PR_SET_SECCOMP, 2, ctypes.byref(program), 0, 0), "seccomp filters")


# --- all of it ------------------------------------------------------------------------------------


def die_with_parent() -> None:
    """The kernel ends this process when the one that forked it ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def adopt_orphans() -> None:
    """What a child of this process leaves behind becomes a child of this process."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def give_up_rights(ruleset: int) -> None:
    """Only what the ruleset and the list of system calls above allow, for this process and for
    good. Raises: Missing."""
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    header = struct.pack("Ii", 0x20080522, 0)  # version 3, this process
    _check(_libc.syscall(_CAPSET[_MACHINE], header, bytes(24)), "dropping capabilities")
    _check(_libc.syscall(_RESTRICT_SELF, ruleset, 0), "Landlock")
    _seccomp()


def require() -> None:
    """Raise Missing where a protection that all programs get is not to be had on this machine."""
    if sys.platform != "linux" or _MACHINE not in _AUDIT_ARCH:
        raise Missing(
            f"Linux on {' or '.join(_AUDIT_ARCH)} is wanted, not {sys.platform} {_MACHINE}"
        )
    _check(landlock_version(), "Landlock (a kernel of 5.13 or later that has it on)")
