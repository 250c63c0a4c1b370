"""Starts a command under what a systemd unit says of system calls, capabilities, memory and sockets, where there is no systemd to do it:

    python3 confined.py RULES COMMAND…

RULES is a file of JSON: `allowed` (names of system calls), `families` (of sockets), `denies_code` (no memory is both writable and
executable), `umask`. The kernel is asked for the same filters that systemd would ask for, through the same library."""

import ctypes
import errno
import json
import os
import socket
import sys

SECCOMP = ctypes.CDLL("libseccomp.so.2", use_errno=True)
ALLOW, REFUSE, REFUSE_FAMILY = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.EAFNOSUPPORT
EQUAL, MASKED = 4, 7
WRITE, CODE = 2, 4


class Argument(ctypes.Structure):
    _fields_ = [("number", ctypes.c_uint), ("operation", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


SECCOMP.seccomp_init.restype = ctypes.c_void_p
SECCOMP.seccomp_init.argtypes = [ctypes.c_uint32]
SECCOMP.seccomp_load.argtypes = [ctypes.c_void_p]
SECCOMP.seccomp_rule_add_array.argtypes = [
    ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(Argument)]


def number(name):
    return SECCOMP.seccomp_syscall_resolve_name(name.encode())


def add(rules, action, name, *arguments):
    code = SECCOMP.seccomp_rule_add_array(
        rules, action, number(name), len(arguments), (Argument * len(arguments))(*arguments))
    assert code == 0, f"{name}: {os.strerror(-code)}"


def load(rules):
    code = SECCOMP.seccomp_load(rules)
    assert code == 0, os.strerror(-code)


def confine(told):
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(64):
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP; not ours to drop where we are nobody
    os.umask(int(told["umask"], 8))
    others = SECCOMP.seccomp_init(ALLOW)
    if told["denies_code"]:
        add(others, REFUSE, "mmap", Argument(2, MASKED, WRITE | CODE, WRITE | CODE))
        add(others, REFUSE, "mprotect", Argument(2, MASKED, CODE, CODE))
        add(others, REFUSE, "pkey_mprotect", Argument(2, MASKED, CODE, CODE))
    allowed = {int(getattr(socket, name)) for name in told["families"]}
    for family in set(range(46)) - allowed:
        add(others, REFUSE_FAMILY, "socket", Argument(0, EQUAL, family, 0))
    load(others)
    calls = SECCOMP.seccomp_init(REFUSE)
    for name in told["allowed"]:
        if number(name) >= 0:
            add(calls, ALLOW, name)
    load(calls)


with open(sys.argv[1]) as file:
    confine(json.load(file))
os.execv(sys.argv[2], sys.argv[2:])
