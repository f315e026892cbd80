"""Python's websockets where windows are bounded (RFC 7692, 7.1.2).

windows.py client URL: each line of standard input is `SERVER CLIENT` as they are offered (a number, any or -). Says what was
answered, once the messages have come back.
windows.py server SERVER CLIENT: prints its port, then of each connection what was offered and what it answered; an echo."""

import random
import sys
import threading

from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory
from websockets.sync.client import connect
from websockets.sync.server import serve

EXTENSIONS = "Sec-WebSocket-Extensions"


def bits(word):
    return {"-": None, "any": True}[word] if word in ("-", "any") else int(word)


def messages():
    """What refers back further than a small window, and does so beyond the pieces in which zlib gives what it inflates."""
    block = random.Random(1).randbytes(4000).hex()
    return [block * 12, "short", "a" * 100000]


def client(url):
    for line in sys.stdin:
        server, own = map(bits, line.split())
        offer = ClientPerMessageDeflateFactory(server_max_window_bits=server, client_max_window_bits=own)
        with connect(url, extensions=[offer], compression=None, max_size=None, proxy=None) as ws:
            for message in messages():
                ws.send(message)
                if ws.recv(timeout=15) != message:
                    sys.exit(f"windows.py: another message came back: {line}")
            print(ws.response.headers.get(EXTENSIONS, "-"), flush=True)


def server(largest, of_client):
    def talk(ws):
        print(ws.request.headers.get(EXTENSIONS, "-"), flush=True)
        print(ws.response.headers.get(EXTENSIONS, "-"), flush=True)
        for message in ws:
            ws.send(message)

    answer = ServerPerMessageDeflateFactory(server_max_window_bits=bits(largest), client_max_window_bits=bits(of_client))
    with serve(talk, "127.0.0.1", 0, extensions=[answer], compression=None, max_size=None) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        print(listening.socket.getsockname()[1], flush=True)
        sys.stdin.read()


{"client": client, "server": server}[sys.argv[1]](*sys.argv[2:])
