"""Where README's commands are run: a stage for each part of the text, with what that part speaks of."""

import fcntl
import http.server
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import threading
import time

from text import differs

PATIENCE_S = 60
ACCEPTED = r'"status":\s*"(accepted|duplicate)"'
CONVERSION = {"time": "2026-11-20T13:03:27Z", "event_type": "purchase_completed", "value": "99.90", "currency": "EUR"}


class Stages:
    """The stage of a command is that of its section. One is built when its first command comes, and then the one before ends."""

    def __init__(self, readme, binary, folder):
        self.readme, self.folder, self.current = readme, folder, None
        path = folder / "bin"
        path.mkdir()
        (path / "capi-relay").symlink_to(binary)
        # Nothing of the machine's own configuration.
        kept = {name: value for name, value in os.environ.items() if not re.match(r"CAPI_RELAY_|.*_proxy$", name, re.IGNORECASE)}
        self.environment = kept | {"PATH": f"{path}:{os.environ['PATH']}", "USER": "ana"}

    def fault(self, command):
        """What a command did not do that it should, or nothing."""
        kind = STAGES.get(command.section)
        if not kind:
            return f"nobody runs what stands below `{command.section}`"
        try:
            if type(self.current) is not kind:
                self.end()
                folder = self.folder / kind.__name__
                folder.mkdir()
                self.current = kind(self.readme, folder, self.environment)
            self.current.run(command)
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            return f"{type(error).__name__}: {error}"
        return None

    def end(self):
        if self.current:
            self.current.end()


class Stage:
    """A folder, platforms, and at most one relay. Further stages say what is to be so before a command, and after it."""

    # What a command ends with where that is not 0, and what it prints where nothing is shown.
    CODES, SAYS = {}, {}

    def __init__(self, readme, folder, environment):
        self.readme, self.folder, self.environment = readme, folder, dict(environment)
        self.relay, self.running = None, []
        # Words of the text, and what stands for them here.
        self.words = {"cargo run --release -- ": "capi-relay ", "/run/secrets/": f"{folder}/"}

    def before(self, command):
        """What must be so."""

    def after(self, command, printed):
        """What is known from now on."""

    def meant(self, command):
        """The command as it is run: no comment, nothing in brackets that may be left out, and words of here."""
        text = re.sub(r"\s+#.*", "", command.text)
        text = re.sub(r"\s*\[--[^]]*\]", "", text)
        for word, here in self.words.items():
            text = text.replace(word, here)
        return text

    def run(self, command):
        self.before(command)
        text = self.meant(command)
        if text in STAYS:
            self.stays(text)
            return
        options = {"shell": True, "executable": "/bin/bash", "cwd": self.folder, "env": self.environment}
        ended = subprocess.run(text, capture_output=True, text=True, timeout=PATIENCE_S, **options)
        expected = self.CODES.get(text, 0)
        assert ended.returncode == expected, f"{text}: ended with {ended.returncode}, not {expected}:\n{ended.stdout}{ended.stderr}"
        if command.shown:
            fault = differs(command.shown, ended.stdout + ended.stderr)
            assert not fault, fault
        for words, pattern in self.SAYS.items():
            if text.startswith(words):
                assert re.search(pattern, ended.stdout), f"{text}: not {pattern}:\n{ended.stdout}{ended.stderr}"
        self.after(command, ended.stdout)

    def stays(self, text):
        """Starts what runs until a signal, and waits until it says that it does."""
        output = self.folder / f"output-{len(self.running)}"
        with output.open("w") as written:
            # Not through a shell, which would take the signal.
            process = subprocess.Popen(text.split(), cwd=self.folder, env=self.environment, stdout=written, stderr=written)
        self.running.append(process)

        def says():
            assert process.poll() is None, f"{text}: ended:\n{output.read_text()}"
            return STAYS[text] in output.read_text()

        eventually(f"`{text}` says `{STAYS[text]}`", says)
        if text == SERVE:
            self.relay = process
        return output.read_text()

    def serves(self, is_to):
        """Starts or stops the relay, unless it is so."""
        if is_to and not self.relay:
            self.stays(SERVE)
        elif self.relay and not is_to:
            self.relay.send_signal(signal.SIGTERM)
            code = self.relay.wait(PATIENCE_S)
            assert code == 0, f"SIGTERM ended the relay with {code}"
            self.relay = None

    def end(self):
        for process in reversed(self.running):
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(PATIENCE_S)

    def block(self, language, begin):
        """A block of the text, by how it begins."""
        found = [block.text for block in self.readme.blocks if block.language == language and block.text.startswith(begin)]
        assert len(found) == 1, f"there is no one block of {language} that begins with {begin}"
        return found[0]


class Trial(Stage):
    """`Try it with your own file` and what follows it: README's own routes.toml and conversion, Thrad's stand-in, and a partner who
    takes nothing for now, so that there is something to export."""

    SAYS = {
        "capi-relay demo": "sandbox violations: 0",
        "capi-relay token": r"token_sha256 +[0-9a-f]{64}",
        "capi-relay render": r"(?s)POST http.*POST http",
        "capi-relay send": ACCEPTED,
        "capi-relay status": r"(?s)thrad.*delivered",
        "capi-relay export": "^$",
        "capi-relay import": "0 conversions imported, 0 settled, 1 known already, 0 refused",
        "curl": ACCEPTED,
    }

    def __init__(self, *stage):
        super().__init__(*stage)
        self.partner = Platforms(0, {"events": (503, "")})
        (self.folder / "conversion.json").write_text(self.block("json", '{ "time"'))
        self.environment |= {"THRAD_API_KEY": "key", "PARTNER_TOKEN": "token-of-partner"}

    def before(self, command):
        first, second, *_ = command.text.split()
        if first == "capi-relay":
            self.serves(second in ASKS) if second in ASKS | NEEDS_FOLDER else None
        elif first == "curl":
            self.serves(True)

    def after(self, command, printed):
        if found := re.search(r"token +(\S+)\ntoken_sha256 +(\S+)", printed):
            token, digest = found.groups()
            self.environment |= {"SHOP_TOKEN_SHA256": digest, "TOKEN": token}
            self.words["--token …"] = f"--token {token}"
        if command.text.startswith("capi-relay init"):
            assert "[destination.impact]" in (self.folder / "routes.toml").read_text()
            self.write_routes()
        if command.text.startswith("capi-relay send"):
            identity = json.loads(printed)["id"]
            self.words |= {"0193…": identity, "0198f0c2-…": identity}
            # What is settled is shown then, and the rest waits.
            eventually("it is delivered at thrad", lambda: self.state(identity, "thrad") == "delivered")

    def state(self, identity, destination):
        shown = subprocess.run(
            ["capi-relay", "status", identity, "--json"], cwd=self.folder, env=self.environment, capture_output=True, text=True, check=True
        )
        return json.loads(shown.stdout)["destinations"][destination]["state"]

    def stays(self, text):
        said = super().stays(text)
        if found := re.search(r"thrad\s+http://\S+\s+bearer (\S+)", said):
            self.environment["THRAD_API_KEY"] = found.group(1)
        return said

    def write_routes(self):
        """README's, with the stand-ins in the places of what it names."""
        origins = {"thrad": "http://127.0.0.1:9101", "partner": self.partner.origin}
        text = self.block("toml", "[server]").replace("[queue]", "[queue]\nallow_volatile = true", 1)
        for name, origin in origins.items():
            text = re.sub(rf"(?m)^(\[destination\.{name}\].*)$", rf'\1\norigin = "{origin}"', text)
        (self.folder / "routes.toml").write_text(text)


class Goldens(Stage):
    """`Prove a mapping before it is deployed`: a mapping that was changed so that trailing zeros go."""

    CODES = {"capi-relay test --no-secrets": 1, "capi-relay diff routes.toml new.toml --conversions day.ndjson": 1}

    def __init__(self, *stage):
        super().__init__(*stage)
        self.environment["SHOP_TOKEN_SHA256"] = "ab" * 32
        routes = self.block("toml", "[server]").partition("[destination.partner]")[0]
        changed = 'map.conversion_value = "value | strip_zeros"\n'
        goldens = self.block("toml", "[[destination.thrad.golden]]")
        click = {"click_ids": {"thrad": "clk_8f2c41d7"}}
        conversions = {"purchase": {"order_id": "order-1001"} | click, "no-consent": {"order_id": "order-1002", "consent": {"tracking": False}} | click}
        (self.folder / "goldens").mkdir()
        for name, conversion in conversions.items():
            (self.folder / f"goldens/{name}.json").write_text(json.dumps(CONVERSION | conversion))
        # Alternately one that changes, and one that does not.
        day = [CONVERSION | click | {"order_id": f"order-{number}"} | ({"value": "99.95"} if number % 2 else {}) for number in range(1000)]
        (self.folder / "day.ndjson").write_text("".join(json.dumps(conversion) + "\n" for conversion in day))
        (self.folder / "routes.toml").write_text(routes + goldens)
        subprocess.run(["capi-relay", "test", "--no-secrets", "--update"], cwd=self.folder, env=self.environment, check=True, capture_output=True)
        (self.folder / "routes.toml").write_text(routes + changed + goldens)
        self.routes, self.changed = routes, changed

    def before(self, command):
        if command.text.startswith("capi-relay diff"):
            self.environment["THRAD_API_KEY"] = "key"
            (self.folder / "routes.toml").write_text(self.routes)
            (self.folder / "new.toml").write_text(self.routes + self.changed)


class Operating(Stage):
    """`A destination that does not work` and what follows it: of three destinations one refuses the credential, and one knows no
    click, until its mapping is mended."""

    CODES = {"capi-relay probe dsp": 1, "capi-relay probe thrad": 1}
    PORT = 18099
    ROUTES = """
[server]
listen = "127.0.0.1:8443"
plaintext = true
[queue]
path = "data"
allow_volatile = true
[merchant.acme]
token_sha256 = "${{env:ACME_TOKEN_SHA256}}"
[destination.thrad]
url = "http://127.0.0.1:{port}/thrad"
map.order = "order_id"
[destination.scaleo]
url = "http://127.0.0.1:{port}/scaleo"
auth = {{ header = {{ name = "api-key", value = "{{secrets.key}}" }} }}
secrets.key = "key-of-scaleo"
map.click = "click_ids.scaleo"
map.order = "order_id"
{more}
[destination.dsp]
url = "http://127.0.0.1:{port}/dsp"
map.order = "order_id"
"""

    def __init__(self, *stage):
        super().__init__(*stage)
        answers = {"scaleo": (404, '{"error":"Click not found"}'), "dsp": (401, '{"error":"token expired"}')}
        self.platforms = Platforms(self.PORT, answers)
        self.issue_token()
        self.write_routes("")
        self.serves(True)
        shown = re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", self.block("", "$ capi-relay dead list"))
        for number, identity in enumerate(shown, 1001):
            self.words[identity] = self.send(f"order-{number}", f"clk-{number}")
        eventually("each destination has had its say", self.is_as_shown)

    def issue_token(self):
        token = subprocess.run(["capi-relay", "token"], env=self.environment, capture_output=True, text=True, check=True).stdout.split()
        self.environment |= {"ACME_TOKEN_SHA256": token[3], "CAPI_RELAY_TOKEN": token[1]}

    def write_routes(self, more):
        (self.folder / "routes.toml").write_text(self.ROUTES.format(port=self.PORT, more=more))

    def asked(self, *words):
        options = {"cwd": self.folder, "env": self.environment, "capture_output": True, "text": True, "check": True}
        return json.loads(subprocess.run(["capi-relay", *words], **options).stdout)

    def send(self, order, click):
        (self.folder / "one.json").write_text(json.dumps(CONVERSION | {"order_id": order, "click_ids": {"scaleo": click}}))
        return self.asked("send", "one.json")["id"]

    def destinations(self):
        return {one["name"]: one for one in self.asked("destinations", "--json")["destinations"]}

    def is_as_shown(self):
        found = self.destinations()
        return (found["thrad"]["pending"], found["scaleo"]["dead"], found["dsp"]["state"]) == (0, 2, "suspended")

    def before(self, command):
        if command.text.endswith("--plan"):
            self.write_routes('map.amount = "value"')
            request = ["curl", "--silent", "--fail", "--request", "POST", "http://127.0.0.1:9090/admin/reload"]
            subprocess.run(request, check=True, capture_output=True)
            self.platforms.answers["scaleo"] = (200, "{}")

    def after(self, command, printed):
        if command.text.startswith("capi-relay dead replay --id"):
            eventually("the replayed one is delivered", lambda: self.destinations()["scaleo"]["pending"] == 0)


class Reloading(Operating):
    """`Reload`: a file without a destination for which work waits."""

    CODES = {"capi-relay reload": 1}
    PORT = 18098

    def __init__(self, *stage):
        Stage.__init__(self, *stage)
        self.platforms = Platforms(self.PORT, {"dsp": (400, "{}")})
        self.issue_token()
        self.write_routes("")
        self.serves(True)
        self.send("order-1", "clk-1")
        eventually("one is a dead letter", lambda: self.destinations()["dsp"]["dead"] == 1)
        self.platforms.answers["dsp"] = (503, "")
        for number in (2, 3, 4):
            self.send(f"order-{number}", f"clk-{number}")
        eventually("three wait", lambda: self.destinations()["dsp"]["pending"] == 3)
        routes = (self.folder / "routes.toml").read_text()
        (self.folder / "routes.toml").write_text(routes.partition("[destination.dsp]")[0])


class Platforms:
    """A server for all of them; `answers[name]` is a status and a body."""

    def __init__(self, port, answers):
        self.answers = answers
        stage = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.rfile.read(int(self.headers.get("content-length", 0)))
                status, text = stage.answers.get(self.path.strip("/"), (200, "{}"))
                self.send_response(status)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.origin = f"http://127.0.0.1:{self.server.server_port}"


def eventually(what, look):
    """What `look` finds at last."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError(f"never came: {what}")


def loopback_up():
    """`ip link set lo up`, which not every machine has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))


SIOCSIFFLAGS, IFF_UP = 0x8914, 1
SERVE = "capi-relay serve"
# What runs until a signal, and the word by which it says that it does.
STAYS = {SERVE: " serving ", "capi-relay sandbox": "Ctrl-C"}
# Commands that ask a running relay, and those for a folder that none uses.
ASKS = {"send", "status", "dead", "forget", "destinations", "pause", "resume", "probe", "audit", "reconcile", "health"}
NEEDS_FOLDER = {"compact", "export", "import", "recover"}
STAGES = {
    "capi-relay": Trial,
    "Try it with your own file": Trial,
    "Encryption at rest": Trial,
    "Forgetting": Trial,
    "A damaged folder": Trial,
    "Prove a mapping before it is deployed": Goldens,
    "Reload": Reloading,
    "A destination that does not work": Operating,
    "Dead letters, replayed": Operating,
    "Who changed what": Operating,
    "What was accepted, and what became of it": Operating,
}
