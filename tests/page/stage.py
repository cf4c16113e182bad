"""What the page is tried against: a relay, the sandbox, and platforms that answer as they are told to."""

import hashlib
import http.server
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.request

TOKEN = "token-of-the-check"
DIGEST = hashlib.sha256(TOKEN.encode()).hexdigest()
PATIENCE_S = 60
ROUTES = """
[server]
listen = "127.0.0.1:{public}"
admin = "127.0.0.1:{admin}"
plaintext = true
{server}
[queue]
path = "data"
allow_volatile = true
min_free_bytes = "1MiB"
[merchant.acme]
token_sha256 = "{digest}"

[destination.thrad]
preset = "thrad"
origin = "{thrad}"
secrets.api_key = "{thrad_key}"
"""
# A destination of ours: what it answers is told to its platform.
DESTINATION = """
[destination.{name}]
url = "{origin}/{name}"
auth = {{ bearer = "{{secrets.key}}" }}
secrets.key = "secret-of-{name}"
{more}
retry = {{ first = "20ms", max = "100ms", give_up_after = "{give_up_after}" }}
map.event = "event_id"
map.order = "order_id"
map.value = "value"
map.currency = "currency"
map.email = "customer.email"
"""


def eventually(what, look):
    """What `look` finds at last."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"never came: {what}")


def free_ports():
    """Two that are not the same: both are held while they are looked for."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]


class Platforms:
    """One server for all of them; `answers[name]` is a status and a body."""

    def __init__(self):
        self.answers = {}
        self.received = []
        stage = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                name = self.path.strip("/")
                status, text = stage.answers.get(name, (200, "{}"))
                stage.received.append((name, status, json.loads(body)))
                self.send_response(status)
                self.send_header("content-length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def do_GET(self):
                """A web page of somebody else's."""
                text = b"<!doctype html><html lang=en><title>elsewhere</title>"
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.origin = f"http://127.0.0.1:{self.server.server_port}"


class Stage:
    """All of it in a folder; `server` is further lines of `[server]`."""

    def __init__(self, binary, folder, names, server=""):
        self.binary, self.folder = pathlib.Path(binary).resolve(), pathlib.Path(folder)
        # Chosen beforehand: a reload refuses others, and a relay that comes again is to be found where it was.
        self.platforms, self.ports, self.server = Platforms(), free_ports(), server
        self.public, self.admin = (f"http://127.0.0.1:{port}" for port in self.ports)
        self.names = names
        self.sandbox = subprocess.Popen([self.binary, "sandbox", "--port", "0"], stdout=subprocess.PIPE, text=True)
        said = ""
        while "Ctrl-C" not in said:
            line = self.sandbox.stdout.readline()
            assert line, f"the sandbox did not start:\n{said}"
            said += line
        self.thrad, self.thrad_key = re.search(r"thrad\s+(http://\S+)\s+bearer (\S+)", said).groups()
        self.relay = None
        self.start()

    def write(self, give_up_after="1h", more=None):
        """routes.toml; `more` adds lines to single destinations."""
        (public, admin), thrad = self.ports, {"thrad": self.thrad, "thrad_key": self.thrad_key}
        text = ROUTES.format(public=public, admin=admin, server=self.server, digest=DIGEST, **thrad)
        for name in self.names:
            of_it = {"origin": self.platforms.origin, "give_up_after": give_up_after, "more": (more or {}).get(name, "")}
            text += DESTINATION.format(name=name, **of_it)
        (self.folder / "routes.toml").write_text(text)

    def start(self):
        """Starts the relay, on the ports that it had before."""
        self.write()
        log = self.folder / "log"
        with log.open("w") as written:
            command = [self.binary, "serve", "-c", "routes.toml"]
            self.relay = subprocess.Popen(command, cwd=self.folder, stderr=written, env=os.environ | {"RUST_LOG": "info"})

        def serves():
            assert self.relay.poll() is None, log.read_text()
            return " serving " in log.read_text()

        eventually("the relay serves", serves)

    def stop(self):
        self.relay.send_signal(signal.SIGTERM)
        assert self.relay.wait(timeout=PATIENCE_S) == 0, (self.folder / "log").read_text()

    def end(self):
        if self.relay.poll() is None:
            self.stop()
        self.sandbox.send_signal(signal.SIGINT)
        self.sandbox.wait(timeout=PATIENCE_S)
        self.platforms.server.shutdown()

    def call(self, url, body=None, token=TOKEN):
        data = None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def send(self, order, **more):
        """A conversion; the relay's id of it."""
        conversion = {"event_id": f"e-{order}"[:128], "order_id": order, "time": "2026-11-20T14:03:27Z", "value": "99.90", "currency": "EUR"}
        return self.call(f"{self.public}/v1/conversions", conversion | more)["id"]

    def destination(self, name):
        found = self.call(f"{self.admin}/admin/overview")["destinations"]
        return next(one for one in found if one["name"] == name)

    def settles(self, name, **expected):
        """Waits until the overview says so of the destination."""
        eventually(f"{name} {expected}", lambda: self.destination(name).items() >= expected.items())
