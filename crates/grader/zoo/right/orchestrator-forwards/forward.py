"""forward.py PORT ADDRESS PORT: passes each connection on, as socat(1) does."""

import socket
import sys
import threading


def pump(one, other):
    while data := one.recv(65536):
        other.sendall(data)
    other.shutdown(socket.SHUT_WR)


def serve(client):
    with client, socket.create_connection((sys.argv[2], int(sys.argv[3]))) as server:
        back = threading.Thread(target=pump, args=(server, client))
        back.start()
        pump(client, server)
        back.join()


with socket.create_server(("0.0.0.0", int(sys.argv[1]))) as listener:
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],)).start()
