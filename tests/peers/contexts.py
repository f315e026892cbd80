"""Python's websockets against a server with places for so many contexts of their own: contexts.py URL PLACES. Two more
clients than that come. Silent when all is as it should be."""

import random
import sys
import time

from websockets.sync.client import connect

url, places = sys.argv[1], int(sys.argv[2])


def check(is_so, *what):
    if not is_so:
        sys.exit(f"contexts.py: {what}")


def receive(ws):
    return ws.recv(timeout=15)


def come():
    return connect(url, max_size=None, proxy=None)


def has_contexts(ws):
    agreed = ws.response.headers.get("Sec-WebSocket-Extensions", "")
    check("permessage-deflate" in agreed, "extensions", agreed)
    return "no_context_takeover" not in agreed


clients = [come() for _ in range(places + 2)]
check([has_contexts(ws) for ws in clients] == [True] * places + [False] * 2, "who has contexts")

chance = random.Random(1)
for n in range(300):
    ws = chance.choice(clients)
    size = chance.choice([0, 1, 5, 100, 511, 5000, 40000, 100000])
    message = chance.choice([chance.randbytes(size), f"[{n}, again and again]" * (size // 20 + 1), bytes(size)])
    ws.send(message)
    back = receive(ws)
    check(back == message, "echo", n, size, type(message), back[:50])
    if n % 50 == 7:
        ws.send("all")
        for every in clients:
            check(receive(every) == "news " * 1000, "broadcast", n)

# In compressed fragments.
clients[0].send([b"part" * 1000, b"", b"x" * 70000])
check(receive(clients[0]) == b"part" * 1000 + b"x" * 70000, "fragments")

# Who leaves gives the place back.
clients[0].close()
until = time.monotonic() + 15
while True:
    ws = come()
    if has_contexts(ws):
        break
    ws.close()
    check(time.monotonic() < until, "the place does not come back")
ws.send("again and again and again")
check(receive(ws) == "again and again and again", "echo in the place")
for ws in clients[1:] + [ws]:
    ws.close()
