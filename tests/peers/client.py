"""Python's websockets as a client of the engine: client.py URL deflate|plain. Silent when all is as it should be."""

import random
import sys

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

url, mode = sys.argv[1:]
options = {"compression": "deflate" if mode == "deflate" else None, "max_size": None, "proxy": None}


def check(is_so, *what):
    if not is_so:
        sys.exit(f"client.py: {what}")


def receive(ws):
    return ws.recv(timeout=15)


with connect(f"{url}/talk", subprotocols=["superchat", "chat"], **options) as ws:
    check(ws.subprotocol == "chat", "subprotocol", ws.subprotocol)
    agreed = ws.response.headers.get("Sec-WebSocket-Extensions", "")
    check(("permessage-deflate" in agreed) == (mode == "deflate"), "extensions", agreed)
    chance = random.Random(1)
    for size in [0, 1, 125, 126, 511, 512, 4096, 65535, 65536, 300000]:
        text = ("grüße aus Ὀδυσσεύς 🐎 " * (size // 20 + 1))[:size]
        noise = chance.randbytes(size)
        for message in [text, noise, noise[:10] * (size // 10)]:
            ws.send(message)
            back = receive(ws)
            check(back == message, "echo", size, type(message), back[:50])
    # As large as is taken, whole and in fragments; compressed, it only grows.
    noise = chance.randbytes(1 << 20)
    for message in [noise, (noise[at : at + 2048] for at in range(0, 1 << 20, 2048))]:
        ws.send(message)
        check(receive(ws) == noise, "echo of the largest")
    # In fragments, with a ping in their midst.
    ws.send(part for part in ["one ", "mess", "age, ", "in pieces " * 1000])
    check(receive(ws) == "one message, " + "in pieces " * 1000, "fragments")
    check(ws.ping(b"are you there?").wait(15), "pong")
    # Many on the way at once.
    for n in range(500):
        ws.send(f"{n} {'x' * n}")
    for n in range(500):
        check(receive(ws) == f"{n} {'x' * n}", "order", n)
    ws.send("close 4001 that is all")
    try:
        check(False, "no close", receive(ws))
    except ConnectionClosed as closed:
        check((closed.rcvd.code, closed.rcvd.reason) == (4001, "that is all"), "close", closed.rcvd)

with connect(f"{url}/talk", subprotocols=["chat"], **options) as ws:
    ws.send("hello")
    check(receive(ws) == "hello", "hello")
    ws.close(3001, "done")
    check(ws.close_code == 3001, "close code", ws.close_code)

try:
    connect(f"{url}/no", **options)
    check(False, "not refused")
except InvalidStatus as refused:
    check((refused.response.status_code, refused.response.body) == (403, b"not you"), "refusal", refused.response)
