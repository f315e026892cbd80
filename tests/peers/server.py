"""Python's websockets as a server for the engine's own client end: server.py deflate|plain. Prints its port, then what it
hears of closes. Ends when its standard input does."""

import sys
import threading

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

mode = sys.argv[1]


def talk(ws):
    print("open", ws.request.path, ws.subprotocol, flush=True)
    try:
        for message in ws:
            if message == "close me":
                ws.close(4002, "as you wish")
            elif message == "in pieces":
                ws.send(part for part in ["in ", "", "pieces ", "it comes"])
            elif message == "ping me":
                ws.send("pong" if ws.ping(b"ping").wait(15) else "silence")
            else:
                ws.send(message)
    except ConnectionClosed:
        pass
    print("close", ws.close_code, flush=True)


def choose(_, offered):
    return "chat" if "chat" in offered else None


compression = "deflate" if mode == "deflate" else None
with serve(
    talk, "127.0.0.1", 0, subprotocols=["chat"], select_subprotocol=choose, compression=compression, max_size=None
) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.socket.getsockname()[1], flush=True)
    sys.stdin.read()
