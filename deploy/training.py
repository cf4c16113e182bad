"""What a binary is put through that counts how often its code runs: a relay with its five platforms, from a single
connection to more than it can take, over TLS; lines, questions and answers that ask for a repeat among them."""

import asyncio
import hashlib
import json
import os
import re
import ssl
import subprocess
import sys
import time

TOKEN = "token-of-the-training"
# Each platform's settings, and what it says when it takes a conversion.
PLATFORMS = {
    "thrad": ('secrets.api_key = "k"', {"status": "ok"}),
    "impact": (
        'vars.account_sid = "IR"\nvars.campaign_id = 1\nvars.event_type_id = 2\nvars.action_tracker_id = 2\n'
        'secrets.auth_token = "t"\nlimits.rate = "1000000/s"\nlimits.burst = 1000000',
        {"Status": "QUEUED"},
    ),
    "scaleo": ('vars.domain = "t.example"\nsecrets.api_key = "k"\nexpect_currency = "USD"', {"status": "success"}),
    "trackdesk": ('vars.tenant = "acme"\nvars.conversion_type = "sale"', {}),
    "dsp": (
        'vars.endpoint = "https://dsp.example/c"\nvars.advertiser_id = 12\nvars.data_source_key = "d"\nsecrets.token = "t"',
        {},
    ),
}
# How many send at once, and how many each sends: with one the disk's part is largest, with many they are kept together.
ROUNDS = [(1, 500), (8, 500), (64, 150)]
LINES = 5000
# Of so many calls to a platform one is to come again.
REPEAT_EVERY = 200
PATIENCE_S = 60
LOG_LINES = 20
ROUTES = """
[server]
listen = "127.0.0.1:0"
admin = "127.0.0.1:0"
tls = {{ self_signed = true }}
log = "json"
[queue]
path = "data"
allow_volatile = true
[merchant.acme]
token_sha256 = "{token}"
{destinations}
"""
PURCHASE = {
    "event_type": "purchase_completed",
    "time": "2026-05-26T12:34:56.250+02:00",
    "value": "149.70",
    "currency": "USD",
    "click_ids": {
        "thrad": "thr_01HXYZABCDEF0123456789",
        "impact": "3Tq1Xy9aBcDeFgHiJkLm",
        "scaleo": "62c4f1a9b7e3d20001a4c9f8",
        "trackdesk": "85b04ded-09dd-4015-ad30-581e45452dd9",
    },
    "customer": {"id": "customer-88", "email": "Ada@Example.com", "phone": "+44 20 7946 0000", "city": "London", "country": "GB"},
    "device": {"ip": "203.0.113.7", "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
    "page": {"url": "https://shop.example.com/checkout/thanks?a=1&b=zwei"},
    "order": {"subtotal": "139.80", "shipping": "4.90", "tax": "5.00"},
    "items": [
        {"sku": "SKU-1001", "name": "Wool scarf", "category": "Clothes", "quantity": 2, "price": "42.45"},
        {"sku": "SKU-2040", "name": "Crème brûlée set", "category": "Kitchen", "quantity": 1, "price": "64.80"},
    ],
    "consent": {"tracking": True},
}
# What little a merchant may send.
SHORT = {key: PURCHASE[key] for key in ("time", "value", "currency", "click_ids")} | {"customer": {"id": "customer-77"}}


def conversion(number):
    """Three of four with all there is, each another order."""
    return (SHORT if number % 4 == 0 else PURCHASE) | {"event_id": f"event-{number}", "order_id": f"order-{number}"}


class Platform(asyncio.Protocol):
    """Answers each request on a connection as soon as it is whole."""

    calls = 0

    def __init__(self, said):
        self.said, self.unread = json.dumps(said).encode(), b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.unread += data
        while (head := self.unread.partition(b"\r\n\r\n"))[1]:
            length = re.search(rb"content-length: (\d+)", head[0], re.I)
            body_bytes = int(length.group(1)) if length else 0
            if len(head[2]) < body_bytes:
                return
            self.unread = head[2][body_bytes:]
            Platform.calls += 1
            self.answer("503 Service Unavailable" if Platform.calls % REPEAT_EVERY == 0 else "200 OK")

    def answer(self, status):
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(self.said)}\r\n\r\n"
        self.transport.write(head.encode() + self.said)


class Relay:
    """The binary as `serve`, until it is told to end."""

    def __init__(self, binary, counts, routes):
        (counts / "routes.toml").write_text(routes)
        self.log = counts / "log"
        self.binary, self.counts = binary, counts
        with self.log.open("w") as log:
            environment = {**os.environ, "LLVM_PROFILE_FILE": str(counts / "serve.profraw")}
            self.process = subprocess.Popen([binary, "serve"], cwd=counts, stderr=log, env=environment)
        end = time.monotonic() + PATIENCE_S
        while not (found := re.search(r'"public":"([0-9.:]+)","admin":"([0-9.:]+)"', self.log.read_text())):
            if self.process.poll() is not None or time.monotonic() > end:
                self.give_up("did not start")
            time.sleep(0.05)
        self.public, self.admin = found.groups()

    def stop(self):
        self.process.terminate()
        if self.process.wait(PATIENCE_S):
            self.give_up(f"ended with {self.process.returncode}")

    def give_up(self, what):
        said = self.log.read_text().splitlines()[-LOG_LINES:]
        self.process.kill()
        sys.exit("\n".join([f"the relay that counts {what}; its last lines:", *said]))

    async def send_lines(self, first):
        lines = "\n".join(json.dumps(conversion(first + number)) for number in range(LINES))
        (self.counts / "conversions.ndjson").write_text(lines)
        command = [self.binary, "send", "conversions.ndjson", "--url", f"https://{self.public}", "--token", TOKEN]
        environment = {**os.environ, "LLVM_PROFILE_FILE": str(self.counts / "send.profraw")}
        sent = await asyncio.create_subprocess_exec(*command, cwd=self.counts, env=environment, stdout=sys.stderr)
        if await sent.wait():
            sys.exit("the lines were not taken")


async def send(relay, trust, numbers):
    """Conversions over one connection; of some it is asked what became of them."""
    host, port = relay.public.split(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=trust)
    for number in numbers:
        body = json.dumps(conversion(number))
        answer = await call(reader, writer, "POST /v1/conversions", "content-type: application/json\r\n", body)
        if number % 10 == 0:
            await call(reader, writer, f"GET /v1/conversions/{json.loads(answer)['id']}")
    writer.close()


async def call(reader, writer, line, headers="", body=""):
    head = f"{line} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n{headers}content-length: {len(body.encode())}\r\n\r\n"
    writer.write((head + body).encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    answer = await reader.readexactly(int(re.search(r"content-length: (\d+)", head, re.I).group(1)))
    if not head.startswith("HTTP/1.1 2"):
        sys.exit(f"{line}: {head}{answer.decode()}")
    return answer


async def delivered(relay, count):
    """Until the platforms have had that many, and nothing waits."""
    host, port = relay.admin.split(":")
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        reader, writer = await asyncio.open_connection(host, int(port))
        metrics = (await call(reader, writer, "GET /metrics")).decode()
        writer.close()
        done = re.findall(r'^capi_relay_deliveries_total\{.*verdict="delivered".*\} (\d+)', metrics, re.M)
        if sum(map(int, done)) >= count:
            return
        await asyncio.sleep(0.2)
    relay.give_up("did not deliver all")


async def train(binary, counts):
    loop = asyncio.get_running_loop()
    destinations = ""
    for name, (settings, said) in PLATFORMS.items():
        server = await loop.create_server(lambda said=said: Platform(said), "127.0.0.1", 0)
        origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        destinations += f'[destination.{name}]\npreset = "{name}"\norigin = "{origin}"\n{settings}\n'
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    token = hashlib.sha256(TOKEN.encode()).hexdigest()
    relay = Relay(binary, counts, ROUTES.format(token=token, destinations=destinations))
    sent = 0
    for at_once, each in ROUNDS:
        begins = range(sent, sent + at_once * each, each)
        await asyncio.gather(*(send(relay, trust, range(begin, begin + each)) for begin in begins))
        sent += at_once * each
    await relay.send_lines(sent)
    sent += LINES
    await delivered(relay, sent * len(PLATFORMS))
    relay.stop()


def run(binary, counts):
    """Leaves its counts in that folder."""
    asyncio.run(train(binary, counts))
