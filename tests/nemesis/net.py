"""A network of namespaces, one per node, on a bridge; packets are dropped by direction with nft.

The harness runs in namespaces of its own (enter()): network, mounts and processes. All of it goes when it
ends, however it ends; nothing of the machine is touched.
"""
import os
import shutil
import subprocess
import sys

BRIDGE_ADDRESS = "10.77.0.1"
INSIDE = "RIACHO_NEMESIS_INSIDE"


class Unavailable(Exception):
    """This environment cannot do it; the text says why."""


def run(*argv, stdin=None):
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError("%s: %s" % (" ".join(argv), done.stderr.strip() or done.returncode))
    return done.stdout


def calm(folder):
    """The sanitizers of gcc 12 and clang 14 do not survive newer kernels' address randomization."""
    if "asan" in folder or "tsan" in folder:
        if subprocess.run(["setarch", "-R", "true"], capture_output=True).returncode == 0:
            return ["setarch", "-R"]
    return []


def enter(folder):
    """Runs this program again inside new namespaces and ends with its status; returns inside them. folder: of
    the programs that are going to run."""
    if os.environ.get(INSIDE):
        return
    for tool in ("ip", "nft", "unshare", "mount"):
        if shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None:
            raise Unavailable("there is no %s" % tool)
    options = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        options.insert(0, "--map-root-user")
    probe = subprocess.run(["unshare", *options, "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        raise Unavailable("namespaces cannot be made here: %s" % probe.stderr.strip())
    environment = dict(os.environ, **{INSIDE: "1"})
    environment["PATH"] += ":/usr/sbin:/sbin"
    argv = [*calm(folder), "unshare", *options, sys.executable, *sys.argv]
    os.execvpe(argv[0], argv, environment)


class Net:
    """Nodes by name. blocked: pairs (from, to) of names whose packets are dropped."""

    def __init__(self):
        self.addresses, self.blocked, self.generation = {}, set(), 0
        try:
            run("mount", "-t", "tmpfs", "none", "/run")
            os.mkdir("/run/netns")
            run("ip", "link", "set", "lo", "up")
            run("ip", "link", "add", "hub", "type", "bridge")
            run("ip", "address", "add", BRIDGE_ADDRESS + "/24", "dev", "hub")
            run("ip", "link", "set", "hub", "up")
        except OSError as error:
            raise Unavailable("no bridge of namespaces can be made here: %s" % error)

    def add(self, name):
        """A namespace with one interface; returns its address."""
        number = 10 + len(self.addresses)
        address, link = "10.77.0.%d" % number, "node%d" % number
        try:
            run("ip", "netns", "add", name)
            run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
            run("ip", "link", "set", link, "master", "hub", "up")
            inside = ("ip", "-n", name)
            run(*inside, "link", "set", "lo", "up")
            run(*inside, "address", "add", address + "/24", "dev", "eth0")
            run(*inside, "link", "set", "eth0", "up")
            self.rules(name, [])
        except OSError as error:
            raise Unavailable("no namespace with rules can be made here: %s" % error)
        self.addresses[name] = address
        return address

    def rules(self, name, sources):
        text = "table ip nemesis\ndelete table ip nemesis\ntable ip nemesis {\nchain input {\n" \
            "type filter hook input priority 0; policy accept;\n"
        text += "".join("ip saddr %s drop\n" % self.addresses[s] for s in sources)
        run("ip", "netns", "exec", name, "nft", "-f", "-", stdin=text + "}\n}\n")

    def block(self, pairs):
        """These ways are blocked from now on, and no others."""
        pairs = set(pairs)
        for name in self.addresses:
            now = sorted(s for s, to in pairs if to == name)
            if now != sorted(s for s, to in self.blocked if to == name):
                self.rules(name, now)
        self.blocked = pairs
