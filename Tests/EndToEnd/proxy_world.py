"""Real proxies before a real Sluice: nginx, HAProxy and Caddy, with the configurations of Deploy/proxies and with bad ones."""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

from harness import BINARY, until

PROXIES = pathlib.Path(__file__).parents[2] / "Deploy" / "proxies"
# What Debian installs for root alone is not in everybody's path.
PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def is_listening(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def replaced(text, changes):
    """Each of them must stand in the text: a configuration that has changed is noticed here."""
    for old, new in changes.items():
        assert old in text, f"no {old!r} in the configuration"
        text = text.replace(old, new)
    return text


class Proxies:
    """Programs that live as long as this does, in a folder of their own."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sluice-proxies-"))
        self.programs = []
        self.ports = []
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
             "-keyout", "tls.key", "-out", "tls.crt", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
            cwd=self.folder, check=True, capture_output=True)
        self.path("tls.pem").write_text(self.path("tls.crt").read_text() + self.path("tls.key").read_text())

    def path(self, name):
        return self.folder / name

    def write(self, name, text):
        self.path(name).write_text(text)
        return str(self.path(name))

    def port(self):
        self.ports.append(free_port())
        return self.ports[-1]

    def check(self, *command):
        """The proxy's own judge of its configuration."""
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment, cwd=self.folder)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        said = done.stdout + done.stderr
        warnings = [line for line in said.splitlines() if "warn" in line.lower() and not any(word in line for word in ("automatic HTTPS", "OCSP"))]
        assert not warnings, f"{command}: {said}"

    def start(self, *command):
        log = open(self.path(f"log-{len(self.programs)}"), "wb")
        self.programs.append(
            subprocess.Popen(command, stdout=log, stderr=log, env=self.environment, cwd=self.folder))

    @property
    def environment(self):
        return {**os.environ, "PATH": PATH, "HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder),
                "XDG_CONFIG_HOME": str(self.folder)}

    def wait(self):
        def are_up():
            dead = [program.args for program in self.programs if program.poll() is not None]
            assert not dead, f"ended: {dead}"
            return all(map(is_listening, self.ports))

        until(are_up, 30, "the proxies listen")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for program in self.programs:
            program.kill()
            program.wait()
        if kind:
            for log in sorted(self.folder.glob("*log*")):
                print(f"  {log.name}: {log.read_text(errors='replace')[-1000:]}")
        shutil.rmtree(self.folder)

    # What is worth having

    def nginx(self, name, main, inside):
        """Starts nginx on a configuration whose `http` section is `inside`, or begins with it."""
        folders = "".join(f"{kind}_temp_path {self.folder}/{name}-{kind};"
                          for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        own = f"daemon off; master_process off; pid {self.folder}/{name}.pid; error_log {self.folder}/{name}.log;"
        file = self.write(f"{name}.conf", f"{own}\n" + main.replace("http {", f"http {{ access_log off; {folders} {inside}", 1))
        # It warns of an error log that it would open before it has read where that is.
        self.check("nginx", "-q", "-t", "-e", f"{self.folder}/{name}.log", "-c", file)
        self.start("nginx", "-e", f"{self.folder}/{name}.log", "-c", file)

    def our_nginx(self, sluice):
        port = self.port()
        self.nginx("ours", replaced((PROXIES / "nginx.conf").read_text(), {
            "listen 443 ssl": f"listen 127.0.0.1:{port} ssl", "server 127.0.0.1:8080;": f"server 127.0.0.1:{sluice};",
            "/etc/sluice/tls/": f"{self.folder}/"}), "")
        return f"https://localhost:{port}/"

    def nginx_with(self, sluice, **servers):
        """A server for each, with its directives; returns their URLs by name."""
        ports = {name: self.port() for name in servers}
        inside = "\n".join(
            f"server {{ listen 127.0.0.1:{ports[name]}; location / {{ proxy_pass http://127.0.0.1:{sluice}; {text} }} }}"
            for name, text in servers.items())
        self.nginx("others", "events {} http { }", inside)
        return {name: f"http://127.0.0.1:{port}/" for name, port in ports.items()}

    def haproxy(self, name, text):
        file = self.write(name, text)
        self.check("haproxy", "-q", "-c", "-f", file)
        self.start("haproxy", "-db", "-f", file)

    def our_haproxy(self, sluice, admin):
        port = self.port()
        self.haproxy("ours.cfg", replaced((PROXIES / "haproxy.cfg").read_text(), {
            "bind :443": f"bind 127.0.0.1:{port}", "/etc/sluice/tls/": f"{self.folder}/",
            "127.0.0.1:8080 check port 9910": f"127.0.0.1:{sluice} check port {admin}"}))
        return f"https://localhost:{port}/"

    def impatient_haproxy(self, sluice, seconds):
        port = self.port()
        self.haproxy("impatient.cfg", f"""
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server {seconds}s
listen clients
    bind 127.0.0.1:{port}
    server sluice1 127.0.0.1:{sluice}
""")
        return f"http://127.0.0.1:{port}/"

    def caddy(self, name, text):
        file = self.write(name, text)
        self.check("caddy", "validate", "--adapter", "caddyfile", "--config", file)
        self.start("caddy", "run", "--adapter", "caddyfile", "--config", file)

    def our_caddy(self, sluice):
        port = self.port()
        self.caddy("Caddyfile.ours", replaced((PROXIES / "Caddyfile").read_text(), {
            "\tgrace_period 10m": "\tgrace_period 10m\n\tadmin off\n\tauto_https off",
            "chat.example.com {\n": f"https://localhost:{port} {{\n\ttls {self.folder}/tls.crt {self.folder}/tls.key\n",
            "reverse_proxy 127.0.0.1:8080": f"reverse_proxy 127.0.0.1:{sluice}"}))
        return f"https://localhost:{port}/"

    def caddy_with(self, sluice, **sites):
        ports = {name: self.port() for name in sites}
        self.caddy("Caddyfile.others", "{\n\tadmin off\n\tauto_https off\n}\n" + "".join(
            f"http://127.0.0.1:{ports[name]} {{\n{text.replace('SLUICE', f'127.0.0.1:{sluice}')}\n}}\n"
            for name, text in sites.items()))
        return {name: f"http://127.0.0.1:{port}/" for name, port in ports.items()}


class Report:
    """What a doctor said."""

    def __init__(self, status, output, errors=""):
        self.status, self.output, self.errors = status, output, errors
        self.json = json.loads(output) if output.startswith("{") else {}
        self.findings = {finding["check"]: finding for finding in self.json.get("findings", [])}

    def verdict(self, check):
        return self.findings[check]["verdict"] if check in self.findings else None

    def of(self, verdict):
        return sorted(name for name, finding in self.findings.items() if finding["verdict"] == verdict)

    def advice(self, check):
        return "\n".join(self.findings[check]["advice"])

    def __str__(self):
        return f"exit code {self.status}\n{self.output}{self.errors}"


class Doctor:
    """An examination under way."""

    def __init__(self, url, *options, json=True):
        command = [BINARY, "doctor", url, *options, *(["--json"] if json else [])]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def report(self):
        output, errors = self.process.communicate(timeout=120)
        return Report(self.process.returncode, output, errors)


def examine(url, *options, json=True):
    return Doctor(url, *options, json=json).report()
